"""One session of a link: the next frame to send, and the effect of a received one (§4, §5, §7). It
knows no sockets and no ciphers."""

import itertools
from collections import deque
from collections.abc import Callable

from .calls import Item, encode_calls
from .frames import (
    ENTRY_HEAD,
    HEAD,
    MAX_BATCH,
    UNDERSTANDS_BATCH,
    CloseCode,
    Frame,
    Kind,
    Payload,
    Ready,
    Rejection,
    decode_batch,
    decode_rejections,
    encode_batch,
    encode_rejections,
    require,
)
from .link import Cursor, Link, Outgoing, now
from .renewal import Renewal

ACK_AFTER = 64
ACK_WITHIN = 0.02
MAX_UNDER_WAY = 4096
BATCH_BYTES = 16 * 1024
REJECTIONS_AT_ONCE = 64


class Conversation:
    """The frames of two peers in a session, as one of them sees them."""

    def __init__(self, link: Link, mine: Ready, peers: Ready, wake: Callable[[], None]) -> None:
        self.link, self.mine, self.peers, self.wake = link, mine, peers, wake
        self.peer_closed: int | None = None
        self.closing: int | None = None
        self.pings_answered = self.pings_received = 0
        self.batches_sent = self.batches_received = 0
        # Only if both READYs have the bit.
        self.renewal: Renewal | None = None
        self._drained = self._calls_first = False
        self._peer_drains = False
        self._cursors: list[Cursor] = []
        self._control: deque[Frame] = deque()
        self._tokens = itertools.count(1)
        self._ping: int | None = None
        self._untold: list[tuple[Cursor, Rejection]] = []
        # Sending: the credit, how much of it is used, and the number to go on at.
        self._credit, self._used = peers.window, 0
        self._at = link.next
        # Receiving: the credit that the peer was given, and how much of it is used.
        self._granted, self._received = mine.window, 0
        # Acknowledgements that are due: since when, for how many messages, and of which streams.
        self._due_since: float | None = None
        self._due_messages = 0
        self._due_streams: set[int] = set()
        self._about = len(peers.mine) - 1

    def begin(self) -> None:
        """Takes the link over, once both READYs are exchanged."""
        self._at = self.link.meet(self.peers)
        self._cursors = [self.link.cursors[entry.instance] for entry in self.peers.mine]
        self.link.calls.meet(self.mine, self.peers)
        self.link.attached = self
        self._untold = [(cursor, entry) for cursor in self._cursors for entry in cursor.rejected]
        # Acknowledgements that were due when the last session ended are due in this one.
        self._due_streams = set(range(len(self._cursors)))
        self._due_since = now() - ACK_WITHIN

    # Sending

    def ping(self) -> None:
        """Asks whether the peer is there, unless the last question is still unanswered."""
        if self._ping is None:
            self._ping = next(self._tokens)
            self._control.append(Frame(Kind.PING, id=self._ping))
            self.wake()

    def say(self, frame: Frame) -> None:
        """Sends a frame that waits for nothing."""
        self._control.append(frame)
        self.wake()

    def close(self, code: int) -> None:
        """Ends the session with this code: the next frame is CLOSE, and nothing follows."""
        if self.renewal:
            self.renewal.end()
        self.closing = self.closing or code
        self.wake()

    def next_frame(self) -> Frame | None:
        """Returns the frame to send now, if there is one."""
        if self.closing is not None:
            return Frame(Kind.CLOSE, id=self.closing)
        if self._control:
            return self._control.popleft()
        if self.link.shutting_down.is_set() and not self._drained:
            self._drained = True
            self._no_more_renewals()
            return Frame(Kind.DRAIN)
        if self._untold or self._credit_is_due():
            return self._ack()
        # Calls and messages take turns.
        self._calls_first = not self._calls_first
        if self._calls_first and (items := self.link.calls.next_items()) is not None:
            return self._calls(*items)
        # DATA carries the acknowledgement, so it goes before an ACK.
        if (data := self._data()) is not None:
            return data
        if (items := self.link.calls.next_items()) is not None:
            return self._calls(*items)
        if self._ack_is_due():
            return self._ack()
        if self.link.calls.owes():
            return self._calls(0, [])
        if self._drained and self._is_done():
            self.closing = CloseCode.SHUTDOWN
            return Frame(Kind.CLOSE, id=self.closing)
        return None

    def patience(self) -> float | None:
        """Returns the time to wait for `wake` before `next_frame` may have something."""
        if self._due_since is None:
            return None
        return max(0.0, self._due_since + ACK_WITHIN - now())

    def _is_done(self) -> bool:
        """Returns whether everything accepted is delivered, and everything received answered."""
        pending = self.link.pending
        delivered = not pending or (self._peer_drains and not pending[0].sent)
        quiet = self.link.held == 0 and self.link.calls.is_quiet()
        return delivered and quiet and self._due_since is None

    def _calls(self, first: int, items: list[Item]) -> Frame:
        payload = encode_calls(self.link.calls.tell(), items)
        return Frame(Kind.CALLS, id=first, payload=payload)

    def _credit_is_due(self) -> bool:
        credit = self._credit_to_grant() - self._granted
        running_dry = self._granted - self._received < self.mine.max_payload + HEAD
        return credit >= self.link.limits.window // 4 or (credit > 0 and running_dry)

    def _ack_is_due(self) -> bool:
        return self._due_since is not None and (
            self.link.held == 0
            or self._due_messages >= ACK_AFTER
            or now() >= self._due_since + ACK_WITHIN
        )

    def _ack(self) -> Frame:
        """Returns an ACK of one of the streams that it is due for, with the credit of all."""
        index = self._due_streams.pop() if self._due_streams else self._about
        self._settle()
        cursor = self._cursors[index]
        telling = [entry for about, entry in self._untold if about is cursor]
        told = self._that_fit(telling)
        left = telling[len(told) :]
        others = [(about, entry) for about, entry in self._untold if about is not cursor]
        self._untold = others + [(cursor, entry) for entry in left]
        self._granted = max(self._granted, self._credit_to_grant())
        return Frame(
            Kind.ACK,
            ack_stream=index,
            id=self._granted,
            ack=left[0].number - 1 if left else cursor.completed,
            payload=encode_rejections(told),
        )

    def _that_fit(self, rejections: list[Rejection]) -> list[Rejection]:
        """Returns the first of them that one ACK may tell."""
        length, count = 0, 0
        for rejection in rejections[:REJECTIONS_AT_ONCE]:
            length += len(rejection.encode())
            if count and length > self.peers.max_payload:
                break
            count += 1
        return rejections[:count]

    def _settle(self) -> None:
        """Notes that no ACK is due any more, if none is due for any stream."""
        if not self._due_streams:
            self._due_since, self._due_messages = None, 0

    def _credit_to_grant(self) -> int:
        return self.link.limits.window - self.link.held + self._received

    def _data(self) -> Frame | None:
        """Returns the next messages that the peer has room for, or SKIP if the next is too long."""
        run = self._run()
        if self._peer_drains or not run:
            return None
        messages = [message.payload for message in run]
        skipped = len(messages[0]) > self.peers.max_payload
        again = run[0].sent and not skipped
        for message in run:
            message.sent = True
        self._used += 0 if skipped else sum(HEAD + len(message) for message in messages)
        self._at += len(run)
        if not self._untold:
            # This frame carries the acknowledgement of the stream.
            self._due_streams.discard(self._about)
            self._settle()
        kind, sent = (Kind.SKIP, Payload(b"")) if skipped else (Kind.DATA, messages[0])
        if len(run) > 1:
            kind, sent = Kind.BATCH, Payload(encode_batch(messages))
            self.batches_sent += 1
        return Frame(
            kind,
            ack_stream=self._about,
            again=again,
            id=run[0].number,
            ack=self._cursors[self._about].completed,
            payload=sent.data,
            is_bytes=sent.is_bytes,
        )

    def _run(self) -> list[Outgoing]:
        """Returns the messages of the next frame: several only for a peer that knows BATCH."""
        index = self._at - self.link.base
        waiting = list(itertools.islice(self.link.pending, index, min(index + MAX_BATCH, MAX_UNDER_WAY)))
        if waiting and len(waiting[0].payload) > self.peers.max_payload:
            return waiting[:1]
        batches = self.peers.features & UNDERSTANDS_BATCH
        longest = min(BATCH_BYTES, self.peers.max_payload) if batches else 0
        used, length, run = self._used, 0, []
        for message in waiting:
            used += HEAD + len(message.payload)
            length += ENTRY_HEAD + len(message.payload)
            joins = not run or (length <= longest and message.sent == run[0].sent)
            if used > self._credit or not joins:
                break
            run.append(message)
        return run

    # Receiving

    def completed(self, cursor: Cursor) -> None:
        """Notes that a message has been handled and an acknowledgement is due."""
        for index, known in enumerate(self._cursors):
            if known is cursor:
                self._about = index
                self._due_streams.add(index)
                rejections = cursor.rejected[-1:]
                self._untold += [(cursor, e) for e in rejections if e.number == cursor.completed]
        self._due()
        self.wake()

    def _due(self) -> None:
        self._due_since = now() if self._due_since is None else self._due_since
        self._due_messages += 1

    def handle(self, frame: Frame) -> None:
        """Takes in a frame; fails with Violation."""
        require(frame.stream < len(self._cursors), "a stream beyond the list")
        require(frame.ack_stream < len(self.mine.mine), "an ack_stream beyond the list")
        match frame.kind:
            case Kind.READY:
                require(False, "a second READY")
            case Kind.DATA:
                self._acknowledged(frame)
                self._receive(frame.stream, frame.id, [Payload(frame.payload, frame.is_bytes)])
            case Kind.BATCH:
                messages = decode_batch(frame.payload)
                self.batches_received += 1
                self._acknowledged(frame)
                self._receive(frame.stream, frame.id, messages)
            case Kind.ACK:
                self._acknowledged(frame)
                self._credit = max(self._credit, frame.id)
                self.link.rejections.extend(decode_rejections(frame.payload))
            case Kind.SKIP:
                self._acknowledged(frame)
                cursor = self._cursors[frame.stream]
                if frame.id > cursor.received:
                    self.link.skip(cursor, frame.id)
                else:
                    self._repeated(frame.stream)
            case Kind.PING:
                self.pings_received += 1
                self._control.appendleft(Frame(Kind.PONG, id=frame.id))
            case Kind.PONG:
                self._answered(frame.id)
            case Kind.CLOSE:
                self.peer_closed = frame.id
                if self.renewal:
                    self.renewal.end()
            case Kind.CALLS:
                self._acknowledged(frame)
                self.link.calls.handle(frame.id, frame.payload)
            case Kind.DRAIN:
                self._peer_drains = self.link.calls.drains = True
                self._no_more_renewals()
            case Kind.RENEW | Kind.RENEWED:
                require(self.renewal is not None, "a renewal that was not offered")
                assert self.renewal is not None
                self.renewal.handle(frame)
        self.wake()

    def _no_more_renewals(self) -> None:
        if self.renewal:
            self.renewal.draining = True

    def _acknowledged(self, frame: Frame) -> None:
        require(frame.ack < self._at, "an ack of what was never sent")
        if frame.ack >= self.link.base:
            self.link.acknowledge(frame.ack)

    def _receive(self, stream: int, first: int, messages: list[Payload]) -> None:
        cursor = self._cursors[stream]
        self._received += sum(HEAD + len(message) for message in messages)
        require(self._received <= self._granted, "messages beyond the credit")
        require(first <= cursor.received + 1, "a message is missing")
        require(first + len(messages) <= 1 << 64, "a number above 2^64 - 1")
        for number, message in enumerate(messages, first):
            if number <= cursor.received:
                self._repeated(stream)
            else:
                self.link.take(cursor, number, message)

    def _repeated(self, stream: int) -> None:
        self._due_streams.add(stream)
        self._due()

    def _answered(self, token: int) -> None:
        self.pings_answered += 1
        if token == self._ping:
            self._ping = None
