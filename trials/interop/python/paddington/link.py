"""The state of a link in memory, across its connections (§5.1): the messages that were accepted for
the peer, and the cursors of the peer's streams."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from .calls import Calls, text_of
from .frames import (
    HEAD,
    MAX_STREAMS,
    UNDERSTANDS_BATCH,
    UNDERSTANDS_CALLS,
    UNDERSTANDS_RENEW,
    Payload,
    Ready,
    Rejection,
    RejectionCode,
    StreamEntry,
    cut,
    require,
)
from .keyring import Keyring
from .keys import LinkKeys

log = logging.getLogger("paddington")

SOFTWARE = "paddington-python/1"


@dataclass(frozen=True)
class Limits:
    """The limits of §9 that this implementation knows, in bytes and seconds."""

    max_payload: int = 1 << 20
    window: int = 8 << 20
    ping_after: float = 10.0
    dead_after: float = 30.0
    session_age: float = 24 * 3600.0
    handshake: float = 5.0
    answer: float = 10.0
    probe: float = 3.0
    flush: float = 2.0
    handshakes: int = 5
    handshake_period: float = 10.0
    retry_fast: float = 0.5
    retries: tuple[float, ...] = (1.0, 2.0, 4.0, 5.0)
    retry_busy: float = 60.0
    reveal_errors: bool = False
    renew_after: float = 30 * 24 * 3600.0
    ask_every: float = 10.0
    store_every: float = 1.0
    invitation_valid: float | None = 7 * 24 * 3600.0
    overlap: float = 24 * 3600.0


@dataclass
class Outgoing:
    """A message that the peer has not acknowledged."""

    number: int
    payload: Payload = field(repr=False)
    sent: bool = False


@dataclass
class Cursor:
    """The cursor of this service in a stream of its peer."""

    received: int
    completed: int
    rejected: list[Rejection] = field(default_factory=list)

    def raise_to(self, number: int) -> None:
        """Notes that nothing up to this number will come, and that the peer knows the outcomes."""
        self.received = max(self.received, number)
        self.completed = max(self.completed, number)
        self.rejected = [entry for entry in self.rejected if entry.number > number]

    def told(self) -> int:
        """Returns `completed` for READY: below rejections that the peer may not know of."""
        return min([self.completed] + [entry.number - 1 for entry in self.rejected])


class Attached(Protocol):
    """The part of the present session that the link needs."""

    def wake(self) -> None:
        """Called when there may be something to send."""

    def completed(self, cursor: Cursor) -> None:
        """Called when a message has been handled."""


Handler = Callable[["Link", str], Awaitable[None]]
BytesHandler = Callable[["Link", bytes], Awaitable[None]]


class Link:
    """One link of a service, and its handler."""

    def __init__(
        self, peer: str, keys: LinkKeys, instance: bytes, handler: Handler, limits: Limits
    ) -> None:
        self.peer, self.keys, self.instance, self.limits = peer, keys, instance, limits
        # The place for new keys; without it, those that were handed over stay.
        self.keyring: Keyring | None = None
        self.pending: deque[Outgoing] = deque()
        self.base = self.next = 1
        self.cursors: dict[bytes, Cursor] = {}
        self.held = 0
        self.attached: Attached | None = None
        self.shutting_down = asyncio.Event()
        self.rejections: list[Rejection] = []
        self.peers_software = ""
        # Without it, this side takes only text.
        self.bytes_handler: BytesHandler | None = None
        self.calls = Calls(instance, limits.max_payload, self.wake)
        self._handler = handler
        self._inbox: asyncio.Queue[tuple[Cursor, int, Payload | None]] = asyncio.Queue()
        self._task = asyncio.create_task(self._handle_all())

    def send(self, message: str | bytes) -> int:
        """Accepts a message for the peer, text or bytes, and returns its number."""
        is_bytes = isinstance(message, bytes)
        data = message if isinstance(message, bytes) else message.encode()
        self.pending.append(Outgoing(self.next, Payload(data, is_bytes)))
        self.next += 1
        self.wake()
        return self.next - 1

    def shut_down(self) -> None:
        """Asks the link to end once everything that was accepted is delivered."""
        self.shutting_down.set()
        self.calls.shutting_down = True
        self.wake()

    def wake(self) -> None:
        """Tells the session that there may be something to send."""
        if self.attached:
            self.attached.wake()

    def close(self) -> None:
        """Ends the handler."""
        self._task.cancel()

    def remove(self) -> None:
        """Ends the link: from now on nothing is taken in, and nobody waits for an answer."""
        self.attached = None
        self.pending.clear()
        self.calls.remove()
        self.close()

    def acknowledge(self, number: int) -> None:
        """Notes that the peer has handled everything up to this number."""
        while self.pending and self.pending[0].number <= number:
            self.pending.popleft()
        self.base = max(self.base, min(number, self.next - 1) + 1)

    def ready(self) -> Ready:
        """Returns the READY, which lists the streams and cursors of both directions."""
        yours = [StreamEntry(i, c.received, c.told()) for i, c in self.cursors.items()]
        return Ready(
            self.instance,
            self.limits.max_payload,
            max(0, self.limits.window - self.held),
            [StreamEntry(self.instance, self.base, self.next)],
            yours[-MAX_STREAMS:],
            UNDERSTANDS_BATCH
            | UNDERSTANDS_CALLS
            | (UNDERSTANDS_RENEW if self.keyring is not None else 0),
            SOFTWARE,
            self.calls.state(),
        )

    def meet(self, ready: Ready) -> int:
        """Takes in the peer's READY (§5.2), and returns the number to go on sending at."""
        self.peers_software = ready.software
        go_on = self.base
        for entry in ready.yours:
            if entry.instance == self.instance:
                require(entry.first < self.next, "a READY that knows messages never sent")
                self.acknowledge(entry.second)
                go_on = max(self.base, entry.first + 1)
        known = {entry.instance: entry for entry in ready.mine}
        self.cursors = {
            instance: cursor
            for instance, cursor in self.cursors.items()
            if instance in known or cursor.completed < cursor.received
        }
        for instance, entry in known.items():
            below = entry.first - 1
            self.cursors.setdefault(instance, Cursor(below, below)).raise_to(below)
        return go_on

    def take(self, cursor: Cursor, number: int, payload: Payload) -> None:
        """Takes in a message, with which the handler is called in turn."""
        cursor.received = number
        self.held += HEAD + len(payload)
        self._inbox.put_nowait((cursor, number, payload))

    def skip(self, cursor: Cursor, number: int) -> None:
        """Notes that the peer sends nothing up to this number any more."""
        cursor.received = number
        self._inbox.put_nowait((cursor, number, None))

    async def _handle_all(self) -> None:
        while True:
            cursor, number, payload = await self._inbox.get()
            if payload is not None:
                await self._handle(cursor, number, payload)
            cursor.completed = max(cursor.completed, number)
            self.held -= 0 if payload is None else HEAD + len(payload)
            if self.attached:
                self.attached.completed(cursor)

    async def _handle(self, cursor: Cursor, number: int, payload: Payload) -> None:
        text = None if payload.is_bytes else text_of(payload.data)
        try:
            if text is not None:
                await self._handler(self, text)
            elif not payload.is_bytes:
                cursor.rejected.append(Rejection(number, RejectionCode.NOT_TEXT))
            elif self.bytes_handler is not None:
                await self.bytes_handler(self, payload.data)
            else:
                cursor.rejected.append(Rejection(number, RejectionCode.TEXT_ONLY))
        except Exception as error:
            log.warning("message %s of %s is given up: %s", number, self.peer, type(error))
            words = cut(str(error)) if self.limits.reveal_errors else ""
            cursor.rejected.append(Rejection(number, RejectionCode.FAILED, words))


def now() -> float:
    """Returns the time by which deadlines are measured."""
    return time.monotonic()
