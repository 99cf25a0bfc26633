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
    /// A replica answers a peer whose link another one owns, as if it owned it.
    ClaimSkipped,
    /// A replica goes on with a link although the store has refused a write for it.
    StaleIgnored,
    /// An owner transmits what it has accepted itself before what others have accepted before that.
    NextNotAwaited,
    /// An owner learns of the messages of others by signals only.
    LookOmitted,
    /// A replica goes on after a lapse of its lease without finding out which links are its own.
    LapseIgnored,
    /// The owner of a link gives it up although another process of the peer is connected.
    ProbeOmitted,
    /// Every replica dials the servers that the service is invited to.
    DialledByAll,
}
