//! The last words of a server to the service, or has found out in a handshake. It is known by the
//! words that its log and its status have for it (`error.rs` in the transport).

/// The meaning of each of these words: the code, and whether only the server's operator sees more.
const KNOWN: [(&str, &str, bool); 10] = [
    ("the server hung up during the handshake", "keys_refused", true),
    ("the server hung up after waiting", "handshake_stalled", true),
    ("waiting for the server's handshake", "handshake_stalled", true),
    ("sending the handshake", "handshake_stalled", true),
    ("the server is not the one that wrote the invitation", "server_unproven", false),
    ("another live process uses this invitation", "duplicate_process", false),
    ("too many handshakes", "overload", false),
    ("the link was removed", "link_removed", false),
    ("protocol violation", "protocol_violation", false),
    ("there are no keys for this server", "no_keys", false),
];

/// Returns the code of an error of the handshake, and whether the server's operator knows more.
pub(super) fn of_handshake(text: &str) -> Option<(&'static str, bool)> {
    let known = KNOWN.iter().find(|(words, ..)| text.contains(words));
    known.map(|(_, code, more)| (*code, *more))
}
