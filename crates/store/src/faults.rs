//! Faults: rules of a store that a test build can break, one at a time, to show that the simulation
//! notices. Only a build with the feature `faults` has the switch.

paddington_wire::faults! {
    /// Any number of dead letters is kept.
    LettersUnbounded,
    /// The oldest dead letter makes room, whoever has the most.
    OldestLetterOfAll,
}
