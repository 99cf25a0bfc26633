//! What the exchange tells a handler about its peers.

use serde::{Deserialize, Serialize};

use crate::PeerName;

/// A control message: made by the exchange of this service, never received from the network.
///
/// Its JSON form is the one that the original's users know:
///
/// ```
/// use paddington_wire::Control;
///
/// let connected = Control::Connected { agent: "echo-client".parse()? };
/// assert_eq!(connected.to_json(), r#"{"Connected":{"agent":"echo-client"}}"#);
/// # Ok::<(), paddington_wire::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// The peer is there: messages to it will be delivered, its messages follow.
    Connected {
        /// The peer's name.
        agent: PeerName,
    },
    /// The peer is gone.
    Disconnected {
        /// The peer's name.
        agent: PeerName,
    },
}

impl Control {
    /// The peer that this is about.
    #[must_use]
    pub fn agent(&self) -> &PeerName {
        match self {
            Self::Connected { agent } | Self::Disconnected { agent } => agent,
        }
    }

    /// The control message as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let event = match self {
            Self::Connected { .. } => "Connected",
            Self::Disconnected { .. } => "Disconnected",
        };
        // A name needs no escaping.
        format!(r#"{{"{event}":{{"agent":"{}"}}}}"#, self.agent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_what_serde_would_write() {
        let agent: PeerName = "echo-client".parse().unwrap();
        for control in
            [Control::Connected { agent: agent.clone() }, Control::Disconnected { agent }]
        {
            assert_eq!(control.to_json(), serde_json::to_string(&control).unwrap());
        }
    }
}
