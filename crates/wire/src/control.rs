//! Control messages, with which a service tells its own handler about its peers.

use serde::{Deserialize, Serialize};

use crate::PeerName;

/// A control message. The exchange of this service makes it; it is never received from the network.
///
/// Its JSON form is that of the original implementation:
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
    /// The peer is connected: messages to it are sent, and messages from it follow.
    Connected {
        /// The peer's name.
        agent: PeerName,
    },
    /// The peer is no longer connected: it has shut down, or has been absent for a while.
    Disconnected {
        /// The peer's name.
        agent: PeerName,
    },
}

impl Control {
    /// Returns the name of the peer that the control message is about.
    #[must_use]
    pub fn agent(&self) -> &PeerName {
        match self {
            Self::Connected { agent } | Self::Disconnected { agent } => agent,
        }
    }

    /// Returns the control message as compact JSON.
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
    fn the_json_is_the_same_as_from_serde() {
        let agent: PeerName = "echo-client".parse().unwrap();
        for control in
            [Control::Connected { agent: agent.clone() }, Control::Disconnected { agent }]
        {
            assert_eq!(control.to_json(), serde_json::to_string(&control).unwrap());
        }
    }
}
