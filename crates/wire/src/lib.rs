//! The wire protocol of paddington: what services send to each other, and in which order.
//!
//! This crate does no IO: it has no sockets, no files, no clocks and no tasks. Handshakes are types
//! whose steps consume them; a session turns frames into bytes and back; a [`link::Link`] decides
//! which message is sent, delivered, repeated or acknowledged. The transport carries their bytes.
//!
//! A whole handshake, in memory:
//!
//! ```
//! use std::sync::Arc;
//! use paddington_crypto::KeyPair;
//! use paddington_wire::sealed::{
//!     Challenge, Credentials, Greeting, HelloRandom, Initiator, ReplyRandom, Responder,
//! };
//! use paddington_wire::link::{Link, LinkConfig};
//! use paddington_wire::{Frame, Instance};
//!
//! // Both sides know the two keys of the invitation and both names.
//! let keys = KeyPair::generate()?;
//! let (server, client) = ("server".parse()?, "client".parse()?);
//! let credentials = || Credentials::new(&server, &client, &keys);
//! let (ours, theirs) = (Arc::new(credentials()), Arc::new(credentials()));
//! let instance = Instance::random()?;
//!
//! // The server challenges, the client says hello, the server replies.
//! let challenge = Challenge::random()?;
//! let initiator = Initiator::new(theirs, instance);
//! let (waiting, hello) = initiator.hello(&challenge, HelloRandom::generate()?)?;
//! let responder = Responder::new(challenge, Arc::new(Credentials::decoy()?));
//! let client = responder.authenticate(&hello, &[ours])?;
//! let (mut server, reply) = client.reply(&ReplyRandom::generate()?)?;
//!
//! // The first frame of each side proves that it has the session's keys.
//! let ready = Link::new(LinkConfig::default(), instance).ready();
//! let first = server.first(&Frame::Ready(ready))?;
//! let client = waiting.finish(&reply)?;
//! let Greeting::Ready(_session, ready) = client.finish(&first, 1024)? else { panic!() };
//! assert_eq!(ready.max_payload, 1024 * 1024);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address_range;
mod address_set;
mod asker;
mod beginning;
mod bucket;
mod call_items;
mod control;
mod encoding;
mod error;
mod faults;
mod frame;
pub mod hex;
mod instance;
mod invited_clients;
pub mod keys;
mod keys_id;
pub mod link;
mod link_id;
mod message;
mod messages;
mod payload;
mod peer_name;
mod queue;
mod reject_text;
pub mod sealed;
mod sealed_candidates;
mod session;
mod slot;
mod software;
mod text;

pub use address_range::{AddressRange, RangeError};
pub use asker::{Asker, ReplyError};
pub use beginning::beginning;
pub use bucket::{Bucket, BucketError};
pub use call_items::{CallBody, CallItem, FailureCode};
pub use control::Control;
pub use encoding::Encoding;
pub use error::{HandshakeError, ReceiveError, TransmitError, Violation};
#[cfg(feature = "faults")]
pub use faults::Fault;
pub use frame::{
    Ack, Batch, Calls, CallsState, CloseCode, Completed, CursorState, Data, Features, Frame,
    HEADER_LEN, MAX_PAYLOAD, Ready, RejectCode, Rejection, Skip, StreamState,
};
pub use instance::{Instance, MessageId};
pub use invited_clients::{Candidates, Credentials, InvitedClient, InvitedClients};
pub use keys_id::KeysId;
pub use link_id::{LinkId, LinkIdError};
pub use message::{Delivery, Message, Recipient};
pub use messages::Messages;
pub use paddington_crypto::KeyError;
pub use payload::{Content, Payload};
pub use peer_name::{NameError, PeerName};
pub use queue::Queue;
pub use reject_text::RejectText;
pub use sealed_candidates::{Recognised, SealedCandidates, Unrecognised, Worthless};
pub use session::{Arrived, Outgoing, Session, Transmission};
pub use slot::{SessionId, Slot, Ticket, Verdict};
pub use software::{Software, SoftwareError};
pub use text::{NotText, Text};
