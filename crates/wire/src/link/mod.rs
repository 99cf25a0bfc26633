//! Links: which message is sent, delivered, repeated or acknowledged, across connections.
//! Implements `docs/protocol.md` §5 and the numbered rules of `docs/delivery.md`.
//!
//! A [`Link`] is all that one service remembers about its messages to and from one peer, across
//! connections. It does no IO, reads no clock and draws no random numbers: the same type runs in
//! the product, under the model checker, in the simulator and under the fuzzer.
//!
//! **Contract.** Feed it every event of one peer, one at a time: [`enqueue`](Link::enqueue) each
//! message that the application sends; [`start`](Link::start) a session with both READYs;
//! [`receive`](Link::receive) each frame of it; call [`handled`](Link::handled) for each message
//! that it delivered, once the handler is done; [`end`](Link::end) the session. After each event,
//! call [`transmit`](Link::transmit) until it returns `None`, and again at the time that
//! [`ack_time`](Link::ack_time) then returns.
//!
//! Messages then arrive in order: exactly once within an instance of the receiver, at least once if
//! it restarts.
//!
//! ```
//! use paddington_wire::link::{Link, LinkConfig, Outcome};
//! use paddington_wire::{Frame, Instance, Slot};
//!
//! let [mut ours, mut theirs] = [[1; 16], [2; 16]]
//!     .map(|name| Link::new(LinkConfig::default(), Instance::from(name)));
//! let id = ours.enqueue("21.5 °C".into(), 0, None)?;
//!
//! // Both sides start a session with the READYs that were exchanged.
//! let session = |slot: &mut Slot| {
//!     let ticket = slot.ticket();
//!     slot.take(ticket, None).expect("the newest ticket")
//! };
//! let our_session = session(&mut Slot::default());
//! let their_session = session(&mut Slot::default());
//! let (our_ready, their_ready) = (ours.ready(), theirs.ready());
//! ours.start(our_session, &our_ready, &their_ready)?;
//! theirs.start(their_session, &their_ready, &our_ready)?;
//!
//! // The message crosses, is handled, and is acknowledged.
//! let data = ours.transmit(our_session, 0).unwrap();
//! let mut arrived = Vec::new();
//! theirs.receive(their_session, data, &mut arrived)?;
//! assert_eq!(arrived[0].payload, "21.5 °C");
//! theirs.handled(arrived[0].id, Ok(()));
//! let ack = theirs.transmit(their_session, 0).unwrap();
//! assert!(matches!(ack, Frame::Ack(_)));
//! ours.receive(our_session, ack, &mut arrived)?;
//! assert_eq!(ours.outcome(id), Outcome::Done);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acknowledging;
mod acks;
mod answerer;
mod call_events;
mod calling;
mod calls;
mod config;
mod credit;
mod cursor;
mod holding;
mod inbound;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod link;
mod link_session;
mod memory;
mod outbound;
mod places;
mod requester;
mod stored;
mod storing;
mod stream;

pub use acks::AckTime;
pub use answerer::AnswerRefused;
pub use call_events::{Answer, CallCounts, CallEnd, CallEvent, CallId, IncomingRequest};
pub use config::{LinkConfig, Millis};
pub use inbound::Incoming;
pub use link::Link;
pub use link_session::Started;
pub use memory::Full;
pub use outbound::{Counts, Outcome};
pub use requester::{OutgoingRequest, RequestRefused};
pub use stored::{CursorChanges, StoredCursor, StoredLink, StoredMessage, StoredStream};
