//! Faults: rules of an exchange that a test build can break, one at a time, to show that the
//! simulation notices. Only a build with the feature `faults` has the switch.

paddington_wire::faults! {
    /// More may wait for all peers together than there is room for.
    RoomUnbounded,
    /// No peer has room of its own.
    RoomWithoutFloors,
    /// Outcomes are kept for the newest receipts only.
    OutcomesForgotten,
    /// A link may have any number of handshakes.
    HandshakesUnbounded,
    /// A message that ends its process is never given up.
    CrashesIgnored,
    /// A replica calls handlers although others may count it as dead.
    LeaseIgnored,
    /// A replica calls handlers before it has entered the lane.
    LaneIgnored,
    /// A call that runs does not keep the lane when its link is given up.
    LaneNotKept,
    /// A replica handles again what another one has handled before it left the lane.
    HandledElsewhereIgnored,
}
