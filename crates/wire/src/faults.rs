//! Faults: rules that a test build can break, one at a time, to show that the models notice. Only a
//! build with the feature `faults` has the switch.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("rules are broken in test builds only: faults need debug assertions");

/// Defines the faults of a crate: `Fault`, which is public only in a build with the switch, and
/// `broken`, which is always false in any other.
#[doc(hidden)]
#[macro_export]
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule of `docs/delivery.md` or `docs/limits.md` that this crate breaks in the whole process.
        #[cfg(feature = "faults")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        #[cfg(feature = "faults")]
        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Breaks this rule and no other of its crate.
            pub fn inject(self) {
                BROKEN.store(self as u8 + 1, ::std::sync::atomic::Ordering::Relaxed);
            }

            /// Keeps all rules again.
            pub fn heal() {
                BROKEN.store(0, ::std::sync::atomic::Ordering::Relaxed);
            }
        }

        /// The broken rule, counted from 1; 0 is none.
        #[cfg(feature = "faults")]
        static BROKEN: ::std::sync::atomic::AtomicU8 = ::std::sync::atomic::AtomicU8::new(0);

        #[cfg(feature = "faults")]
        pub(crate) fn broken(fault: Fault) -> bool {
            BROKEN.load(::std::sync::atomic::Ordering::Relaxed) == fault as u8 + 1
        }

        #[cfg(not(feature = "faults"))]
        #[derive(Clone, Copy)]
        pub(crate) enum Fault {
            $($name,)*
        }

        /// Returns whether a rule is broken, which none is in this build.
        #[cfg(not(feature = "faults"))]
        pub(crate) const fn broken(_: Fault) -> bool {
            false
        }
    };
}

faults! {
    /// Messages are acknowledged before they are handled.
    AcknowledgeOnArrival,
    /// An unknown stream starts at 0 instead of where its sender says.
    UnknownStreamFromZero,
    /// Received messages are forgotten with the connection.
    CursorDroppedWithSession,
    /// Frames of a session that has ended are accepted.
    DeadSessionHeard,
    /// Acknowledgements that were due when a session starts are not sent any more.
    DueAcknowledgementsDropped,
    /// A connection may take the slot although a newer one waits or has had it.
    TicketsInAnyOrder,
    /// A peer that has seen more of an earlier instance than this store knows is refused.
    RegressionRefused,
    /// Messages of an ended instance of the peer do not count against the window.
    WindowForgetsTheDead,
    /// A stream is no longer listed as soon as it is empty.
    UnlistedBeforeRemoved,
    /// A stream is no longer listed once any of its removals is durable.
    UnlistedByAnyRemoval,
    /// A message may be transmitted before it is stored.
    TransmittedBeforeStored,
    /// A message may be transmitted beyond the mark that the store has.
    TransmittedBeyondMark,
    /// The sender continues after the completed messages, and the receiver takes all messages for
    /// new.
    RepeatsTakenForNew,
    /// A connection that ends frees the slot whichever session holds it.
    CleanUpByName,
    /// A restarted peer is not told of a gap that its last instance has acknowledged.
    LateGapNotTold,
    /// A gap hides that a message before it was finished out of order.
    GapHidesFinished,
    /// Messages that were finished out of order are not remembered.
    FinishedForgotten,
    /// The cursor of an instance that has ended is forgotten at once.
    EndedCursorsForgotten,
    /// An outbox that is full takes messages all the same.
    OutboxUnbounded,
    /// More messages are transmitted and not acknowledged than there may be.
    FlightUnbounded,
    /// Messages are transmitted without credit.
    CreditIgnored,
    /// When there are too many rejections, the oldest is forgotten.
    RejectionsForgotten,
    /// A stream that is not listed yet is overtaken by newer ones.
    UnlistedOvertaken,
    /// Calls with another process of the peer go on as if it were the former one.
    OldCallsKept,
    /// Calls that a broken connection has lost are not transmitted again.
    CallsNotRepeated,
    /// The receiver takes all calls for new.
    CallRepeatsTakenForNew,
    /// A request that one process of the peer may have handled is made to another one.
    AnotherProcessAsked,
    /// More requests are transmitted than the peer has places for.
    PlacesIgnored,
    /// A cancelled request gives its place back at once, and again when its answer comes.
    CancelFreesPlace,
    /// The peer is not told that nobody waits any more for its answer.
    CancelsNotTold,
    /// Cancelling a request that waits to be transmitted forgets the first one that waits instead.
    CancelledForAnother,
    /// A request is cancelled although its answer is under way.
    AnsweredCancelled,
    /// The answer to a cancelled request is told as if somebody waited for it.
    LateAnswersTold,
    /// An answer without a reply is not told, and its request waits for ever.
    FailuresIgnored,
    /// A batch that begins with a repeat is taken for a repeat as a whole.
    BatchDroppedForItsFirst,
    /// The other side is told of new keys that could not be stored.
    KeysToldUnstored,
    /// A client forgets keys as soon as it has stored the next ones.
    OldKeysForgottenByClient,
    /// A server forgets keys as soon as it has stored the next ones.
    OldKeysForgottenByServer,
    /// Keys stay although newer ones were used.
    OldKeysKept,
    /// Keys that were agreed on are replaced although the client may have them.
    AgreedReplacedUnasked,
    /// A client says that it has no newer keys, and keeps those that it has fallen back from.
    FallenBackKept,
    /// Keys that are removed leave nothing that recognises them.
    BurnedForgotten,
}
