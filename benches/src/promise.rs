//! Guarantees of each contender about messages, without which figures cannot be compared.

use crate::Contender;

/// Returns the guarantees of `contender`.
#[must_use]
pub fn promise(contender: Contender) -> &'static str {
    match contender {
        Contender::Sealed => {
            "in order, exactly once while both live; acknowledged when handled, repeated after a \
             cut; both sides authenticated, two layers of encryption, lengths padded"
        }
        Contender::Requests => {
            "one answer for each request, at most once; not ordered; both sides authenticated, two layers \
             of encryption, lengths padded"
        }
        Contender::Hex => {
            "in order; not acknowledged, lost with a cut; both sides authenticated, two layers of \
             encryption, no protection against replay"
        }
        Contender::Tcp => "bytes in order; no acknowledgement, no encryption, no authentication",
        Contender::Tls => {
            "bytes in order; no acknowledgement; one layer of encryption, the server authenticated"
        }
        Contender::WebSocket => "messages in order; no acknowledgement, no encryption",
        Contender::Twice => {
            "messages in order; no acknowledgement; two layers of encryption with keys that never \
             change, nobody authenticated"
        }
        Contender::Naive => {
            "messages in order; no acknowledgement; two layers of encryption, no protection \
             against replay"
        }
        Contender::Nats => {
            "through a broker, at most once; no acknowledgement, no encryption (the window here is \
             the benchmark's own, or messages are lost)"
        }
        Contender::NatsTls => {
            "through a broker, at most once; no acknowledgement; one layer of encryption to the \
             broker and one from it, which reads everything"
        }
        Contender::NatsRequests => {
            "through a broker, one answer for each request, at most once; not ordered; one layer of \
             encryption to the broker and one from it, which reads everything"
        }
        Contender::Grpc => {
            "one answer for each call, at most once; not ordered; one layer of encryption, the server \
             authenticated"
        }
        Contender::ZeroMq => {
            "messages in order; no acknowledgement, lost with a cut; one layer of encryption, the \
             server authenticated"
        }
        Contender::Iroh => {
            "bytes in order, over one QUIC stream; no acknowledgement, lost with a cut; one layer \
             of encryption, both sides authenticated by their public keys"
        }
        Contender::Commonware => {
            "messages in order, at most once: dropped where a mailbox is full; no acknowledgement, \
             lost with a cut; one layer of encryption, both sides authenticated by their public \
             keys (the window here is the benchmark's own, or messages are lost)"
        }
    }
}
