"""The plaintext of frames: kinds, fields, padding, and the payload of READY (§4.1)."""

from dataclasses import dataclass
from enum import IntEnum

HEAD, REJECTION, STREAM_ENTRY, READY_HEAD, INSTANCE = 24, 11, 32, 36, 16
MAX_REJECTIONS, MAX_TEXT = 1024, 255
MAX_STREAMS = 64
MAX_SOFTWARE = 64
MAX_PAYLOAD = 16_777_192
AGAIN, BYTES = 1, 2
ENTRY_HEAD, MAX_BATCH = 4, 1024
UNDERSTANDS_BATCH, UNDERSTANDS_CALLS, UNDERSTANDS_RENEW = 1, 2, 4
CALLS_STATE = 30


class Violation(Exception):
    """An authenticated peer has broken the protocol."""


class Kind(IntEnum):
    """The kind of a frame."""

    READY = 1
    DATA = 2
    ACK = 3
    PING = 4
    PONG = 5
    CLOSE = 6
    SKIP = 7
    DRAIN = 8
    BATCH = 9
    CALLS = 10
    RENEW = 11
    RENEWED = 12


class CloseCode(IntEnum):
    """The reason why a session ends."""

    SHUTDOWN = 1
    REPLACED = 2
    BUSY = 3
    VIOLATION = 4
    AGE = 5
    OVERLOAD = 6
    REMOVED = 7


class RejectionCode(IntEnum):
    """The reason why a message was given up."""

    FAILED = 1
    TOO_LATE = 2
    NOT_TEXT = 3
    CRASHED = 4
    TEXT_ONLY = 5


HAS_MESSAGES = {Kind.DATA, Kind.BATCH}
HAS_STREAM = HAS_MESSAGES | {Kind.SKIP}
HAS_ACK = HAS_STREAM | {Kind.ACK, Kind.CALLS}
HAS_ID = HAS_ACK | {Kind.PING, Kind.PONG, Kind.CLOSE, Kind.RENEW, Kind.RENEWED}
HAS_PAYLOAD = HAS_MESSAGES | {Kind.READY, Kind.ACK, Kind.CALLS}


def padme(length: int) -> int:
    """Returns the padded length of a plaintext."""
    if length <= 128:
        return 128
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def require(holds: bool, what: str) -> None:
    """Fails with Violation unless a condition holds."""
    if not holds:
        raise Violation(what)


@dataclass(frozen=True)
class Payload:
    """A message as it travels: text, which nobody has checked yet, or bytes."""

    data: bytes
    is_bytes: bool = False

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True)
class Frame:
    """One frame, opened."""

    kind: Kind
    stream: int = 0
    ack_stream: int = 0
    again: bool = False
    id: int = 0
    ack: int = 0
    payload: bytes = b""
    is_bytes: bool = False

    def encode(self, padded: bool = True) -> bytes:
        """Returns the plaintext."""
        flags = (AGAIN if self.again else 0) | (BYTES if self.is_bytes else 0)
        head = bytes([self.kind, self.stream, self.ack_stream, flags])
        numbers = self.id.to_bytes(8, "big") + self.ack.to_bytes(8, "big")
        plaintext = head + len(self.payload).to_bytes(4, "big") + numbers + self.payload
        return plaintext.ljust(padme(len(plaintext)), b"\0") if padded else plaintext

    @staticmethod
    def decode(plaintext: bytes, max_payload: int) -> "Frame":
        """Reads a plaintext; fails with Violation."""
        require(len(plaintext) >= HEAD, "a frame without its head")
        require(Kind.READY <= plaintext[0] <= Kind.RENEWED, "an unknown kind")
        kind, stream, ack_stream, flags = Kind(plaintext[0]), *plaintext[1:4]
        end = HEAD + int.from_bytes(plaintext[4:8], "big")
        number, ack = (int.from_bytes(plaintext[at : at + 8], "big") for at in (8, 16))
        require(end <= len(plaintext), "a payload beyond its frame")
        require(not any(plaintext[end:]), "padding that is not zero")
        require(kind in HAS_STREAM or stream == 0, "a stream where none belongs")
        require(kind in HAS_ACK or (ack_stream, ack) == (0, 0), "an ack where none belongs")
        require(kind in HAS_ID or number == 0, "an id where none belongs")
        require(kind in HAS_PAYLOAD or end == HEAD, "a payload where none belongs")
        messages = kind in HAS_MESSAGES
        known = BYTES | AGAIN if kind == Kind.DATA else AGAIN if messages else 0
        require(flags & ~known == 0, "an unknown flag")
        require(not messages or end - HEAD <= max_payload, "a message that is too long")
        payload = plaintext[HEAD:end]
        require(kind != Kind.ACK or decode_rejections(payload) is not None, "half a rejection")
        again, is_bytes = flags & AGAIN != 0, flags & BYTES != 0
        return Frame(kind, stream, ack_stream, again, number, ack, payload, is_bytes)


def encode_batch(messages: list[Payload]) -> bytes:
    """Returns the payload of a BATCH."""
    heads = (bytes([message.is_bytes]) + len(message).to_bytes(3, "big") for message in messages)
    return b"".join(head + message.data for head, message in zip(heads, messages, strict=True))


def decode_batch(payload: bytes) -> list[Payload]:
    """Returns the messages in the payload of a BATCH; fails with Violation."""
    messages, at = [], 0
    while at < len(payload) and len(messages) <= MAX_BATCH:
        flags, start = payload[at], at + ENTRY_HEAD
        require(flags in (0, 1), "an unknown flag of a message")
        at = start + int.from_bytes(payload[at + 1 : start], "big")
        require(start <= len(payload) and at <= len(payload), "a message beyond its batch")
        messages.append(Payload(payload[start:at], flags == 1))
    require(1 <= len(messages) <= MAX_BATCH, "an empty batch, or one of too many")
    return messages


@dataclass(frozen=True)
class Rejection:
    """A message that was given up, and its receiver's words about that."""

    number: int
    code: int
    text: str = ""

    def encode(self) -> bytes:
        """Returns its entry in ACK."""
        said = self.text.encode()
        head = self.number.to_bytes(8, "big") + self.code.to_bytes(2, "big")
        return head + bytes([len(said)]) + said


def beginning(text: str, longest: int) -> str:
    """Returns the beginning of a text that fits into so many bytes, cut between two characters. What
    UTF-8 cannot say becomes a question mark."""
    return text.encode(errors="replace")[:longest].decode(errors="ignore")


def cut(text: str) -> str:
    """Returns the beginning of a text that fits into a rejection."""
    return beginning(text, MAX_TEXT)


def encode_rejections(rejections: list[Rejection]) -> bytes:
    """Returns the payload of an ACK."""
    return b"".join(rejection.encode() for rejection in rejections)


def decode_rejections(payload: bytes) -> list[Rejection]:
    """Returns the rejections in the payload of an ACK; fails with Violation."""
    rejections, at = [], 0
    while at < len(payload):
        require(len(rejections) < MAX_REJECTIONS, "too many rejections")
        start = at + REJECTION
        require(start <= len(payload), "half a rejection")
        end = start + payload[start - 1]
        require(end <= len(payload), "half a text")
        number = int.from_bytes(payload[at : at + 8], "big")
        code = int.from_bytes(payload[at + 8 : at + 10], "big")
        try:
            rejections.append(Rejection(number, code, payload[start:end].decode()))
        except UnicodeDecodeError:
            raise Violation("a text that is not UTF-8") from None
        at = end
    return rejections


@dataclass(frozen=True)
class StreamEntry:
    """A stream in READY: (base, next) of the sender's own, (received, completed) of its peer's."""

    instance: bytes
    first: int
    second: int

    def encode(self) -> bytes:
        """Returns its 32 bytes."""
        return self.instance + self.first.to_bytes(8, "big") + self.second.to_bytes(8, "big")

    @staticmethod
    def decode_all(data: bytes) -> list["StreamEntry"]:
        """Reads one entry after the other; no instance may be listed twice."""
        entries = [
            StreamEntry(
                data[at : at + INSTANCE],
                int.from_bytes(data[at + INSTANCE : at + 24], "big"),
                int.from_bytes(data[at + 24 : at + STREAM_ENTRY], "big"),
            )
            for at in range(0, len(data), STREAM_ENTRY)
        ]
        require(len({e.instance for e in entries}) == len(entries), "an instance twice in READY")
        return entries


@dataclass(frozen=True)
class CallsState:
    """The part of READY about calls."""

    requests: int = 0
    window: int = 0
    of: bytes = bytes(INSTANCE)
    received: int = 0

    def encode(self) -> bytes:
        """Returns its 30 bytes."""
        head = self.requests.to_bytes(2, "big") + self.window.to_bytes(4, "big")
        return head + self.of + self.received.to_bytes(8, "big")

    @staticmethod
    def decode(data: bytes, max_payload: int) -> "CallsState":
        """Reads it; fails with Violation."""
        require(len(data) >= CALLS_STATE, "READY is shorter than its part about calls")
        requests, window = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:6], "big")
        of, received = data[6:22], int.from_bytes(data[22:CALLS_STATE], "big")
        require(requests == 0 or window >= max_payload + HEAD, "a window without a request")
        require(any(of) or received == 0, "calls of nobody were received")
        return CallsState(requests, window, of, received)


@dataclass(frozen=True)
class Ready:
    """The payload of READY."""

    instance: bytes
    max_payload: int
    window: int
    mine: list[StreamEntry]
    yours: list[StreamEntry]
    features: int = 0
    software: str = ""
    calls: CallsState = CallsState()

    def encode(self) -> bytes:
        """Returns the payload."""
        head = self.instance + self.max_payload.to_bytes(4, "big") + self.window.to_bytes(4, "big")
        counts = len(self.mine).to_bytes(2, "big") + len(self.yours).to_bytes(2, "big")
        entries = b"".join(entry.encode() for entry in self.mine + self.yours)
        said = self.software.encode("ascii")
        tail = bytes([len(said)]) + said
        tail += self.calls.encode() if self.features & UNDERSTANDS_CALLS else b""
        return head + self.features.to_bytes(8, "big") + counts + entries + tail

    @staticmethod
    def decode(payload: bytes) -> "Ready":
        """Reads the payload; fails with Violation."""
        require(len(payload) >= READY_HEAD, "READY is too short")
        m, y = (int.from_bytes(payload[at : at + 2], "big") for at in (32, 34))
        require(1 <= m <= MAX_STREAMS and y <= MAX_STREAMS, "too many streams in READY, or none")
        between, end = READY_HEAD + STREAM_ENTRY * m, READY_HEAD + STREAM_ENTRY * (m + y)
        require(len(payload) > end, "READY is shorter than its lists")
        said = payload[end + 1 : end + 1 + payload[end]]
        require(len(said) == payload[end], "READY is shorter than its software")
        require(len(said) <= MAX_SOFTWARE, "the name of the software is too long")
        require(all(0x20 <= byte <= 0x7E for byte in said), "the software is not printable")
        max_payload = int.from_bytes(payload[16:20], "big")
        calls = CallsState()
        if payload[31] & UNDERSTANDS_CALLS:
            calls = CallsState.decode(payload[end + 1 + payload[end] :], max_payload)
        ready = Ready(
            instance=payload[:16],
            max_payload=max_payload,
            window=int.from_bytes(payload[20:24], "big"),
            features=int.from_bytes(payload[24:32], "big"),
            mine=StreamEntry.decode_all(payload[READY_HEAD:between]),
            yours=StreamEntry.decode_all(payload[between:end]),
            software=said.decode("ascii"),
            calls=calls,
        )
        require(1 <= ready.max_payload <= MAX_PAYLOAD, "max_payload is out of range")
        require(ready.mine[-1].instance == ready.instance, "the last stream is of another instance")
        require(all(1 <= e.first <= e.second for e in ready.mine), "base is above next, or 0")
        require(all(e.second <= e.first for e in ready.yours), "completed is above received")
        return ready
