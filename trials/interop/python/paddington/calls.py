"""Requests and their answers (§4.1 CALLS, §5.4): the stream of calls of a link, in both roles."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import IntEnum

from .frames import HEAD, UNDERSTANDS_CALLS, CallsState, Ready, beginning, require

log = logging.getLogger("paddington")

ITEM_HEAD, MAX_ITEMS, MAX_TEXT, MAX_DEPTH, NO_LIMIT = 16, 1024, 1024, 8, 0xFFFFFFFF
FRAME_BYTES = 16 * 1024
MAX_WAITING = 1024
depth: ContextVar[int] = ContextVar("depth", default=0)


class What(IntEnum):
    """The kind of an item."""

    REQUEST = 1
    REPLY = 2
    FAILURE = 3
    CANCEL = 4


class FailureCode(IntEnum):
    """The reason why a request has no reply."""

    FAILED = 1
    TOO_LATE = 2
    NOT_TEXT = 3
    TEXT_ONLY = 5
    NO_ANSWER = 6
    EXPIRED = 7
    CANCELLED = 8
    NOT_ANSWERED = 9
    NO_ROOM = 10
    SHUTTING_DOWN = 11
    TOO_LONG = 12


class Failure(Exception):
    """A request has no reply."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"code {code} {text}")
        self.code, self.text = code, text


class NotSent(Exception):
    """A request is refused by this side, before anything of it is sent."""


class PeerChanged(Exception):
    """Another process has taken the place of the one that was asked."""


class LinkRemoved(Exception):
    """The link was removed before the answer came."""


@dataclass(frozen=True)
class Item:
    """One item of a stream of calls."""

    what: What
    call: int
    short: int = 0
    long: int = 0
    is_bytes: bool = False
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Returns the item with its length."""
        head = bytes([self.what, self.is_bytes]) + self.short.to_bytes(2, "big")
        numbers = self.long.to_bytes(4, "big") + self.call.to_bytes(8, "big")
        return (ITEM_HEAD + len(self.body)).to_bytes(4, "big") + head + numbers + self.body

    @staticmethod
    def decode(item: bytes, max_payload: int) -> "Item":
        """Reads an item without its length; fails with Violation."""
        require(len(item) >= ITEM_HEAD, "an item without its head")
        require(What.REQUEST <= item[0] <= What.CANCEL, "an unknown item")
        what, flags, body = What(item[0]), item[1], item[ITEM_HEAD:]
        short, long = int.from_bytes(item[2:4], "big"), int.from_bytes(item[4:8], "big")
        carries = what in (What.REQUEST, What.REPLY)
        require(flags == 0 or (carries and flags == 1), "an unknown flag of an item")
        require(short == 0 or what in (What.REQUEST, What.FAILURE), "an item that is not zero")
        require(long == 0 or what == What.REQUEST, "an item that is not zero")
        require(what != What.REQUEST or short < MAX_DEPTH, "a request that is too deep")
        require(what != What.CANCEL or not body, "a cancel with a body")
        require(not carries or len(body) <= max_payload, "a body that is too long")
        if what == What.FAILURE:
            require(len(body) <= MAX_TEXT, "a text that is too long")
            require(text_of(body) is not None, "a text that is not UTF-8")
        return Item(what, int.from_bytes(item[8:16], "big"), short, long, flags == 1, body)


def text_of(body: bytes) -> str | None:
    """Returns the text, if it is one."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def encode_calls(received: int, items: list[Item]) -> bytes:
    """Returns the payload of CALLS."""
    return received.to_bytes(8, "big") + b"".join(item.encode() for item in items)


def decode_calls(payload: bytes, max_payload: int) -> tuple[int, list[Item]]:
    """Returns `received` and the items of a payload of CALLS; fails with Violation."""
    require(8 <= len(payload) <= max_payload + 28, "CALLS that is too short or too long")
    items: list[Item] = []
    at = 8
    while at < len(payload):
        start = at + 4
        at = start + int.from_bytes(payload[start - 4 : start], "big")
        require(start <= len(payload) and at <= len(payload), "an item beyond its frame")
        require(len(items) < MAX_ITEMS, "too many items")
        items.append(Item.decode(payload[start:at], max_payload))
    return int.from_bytes(payload[:8], "big"), items


@dataclass
class Asked:
    """A request of this side that has no answer yet."""

    item: Item
    answer: asyncio.Future[Item]
    deadline: float | None
    number: int = 0


@dataclass
class Answering:
    """A request of the peer whose answer is not acknowledged."""

    item: Item
    task: asyncio.Task[None] | None = None
    answered: bool = False


Answers = Callable[[str | bytes], Awaitable[str | bytes | None]]


class Calls:
    """The calls of a link, across its connections."""

    def __init__(self, instance: bytes, max_payload: int, wake: Callable[[], None]) -> None:
        self.instance, self.max_payload, self.wake = instance, max_payload, wake
        self.answers: Answers | None = None
        self.requests, self.request_window = 64, 2 << 20
        # The room for requests of the peer, of all depths; for answers that it does not have yet; and
        # for requests to it that wait. One that comes alone always has room.
        self.request_bytes = self.reply_bytes = self.waiting_bytes = 8 << 20
        # This side shuts down: it begins no request of the peer any more.
        self.shutting_down = False
        self.peer: bytes | None = None
        # The parts of both READYs, and the longest body that the peer takes.
        self.mine = self.peers = CallsState()
        self.peers_max_payload = 0
        self.offered = False
        self.drains = False
        self.received = self.told = 0
        self.base, self.resent = 1, 0
        self.sent: deque[Item] = deque()
        self.ready_items: deque[Item] = deque()
        self.waiting: list[Asked] = []
        self.asked: dict[int, Asked] = {}
        self.answering: dict[int, Answering] = {}
        self.late = 0
        self._calls = 0
        self._repeated = False

    def state(self) -> CallsState:
        """Returns the part of READY."""
        window = max(self.request_window, self.max_payload + HEAD)
        of = self.peer or bytes(16)
        return CallsState(self.requests if self.answers else 0, window, of, self.received)

    def meet(self, mine: Ready, peers: Ready) -> None:
        """Goes on with the same process of the peer, or begins anew with another."""
        self.offered = bool(peers.features & UNDERSTANDS_CALLS)
        self.mine, self.peers, self.drains = mine.calls, peers.calls, False
        self.peers_max_payload = peers.max_payload
        same = peers.calls.of == self.instance and mine.calls.of == peers.instance
        if self.offered and same:
            self._acknowledged(peers.calls.received)
        else:
            self._begin_anew(peers.instance if self.offered else None)
        self.resent = 0
        self._refuse_waiting()

    def remove(self) -> None:
        """Ends all calls, of both sides: the link is removed."""
        for asked in self.waiting:
            _fail(asked.answer, LinkRemoved())
        self.waiting.clear()
        self._begin_anew(None, LinkRemoved)

    def _begin_anew(self, peer: bytes | None, why: type[Exception] = PeerChanged) -> None:
        for asked in self.asked.values():
            _fail(asked.answer, why())
        for answering in self.answering.values():
            if answering.task:
                answering.task.cancel()
        self.asked, self.answering = {}, {}
        self.sent, self.ready_items = deque(), deque()
        self.base, self.received, self.told, self.peer = 1, 0, 0, peer

    # Asking

    async def request(self, body: str | bytes, timeout: float | None = None) -> str | bytes:
        """Asks the peer; fails with NotSent, Failure, PeerChanged, LinkRemoved or TimeoutError.
        Cancelling it is told."""
        if depth.get() >= MAX_DEPTH:
            raise NotSent("it is made within too many others")
        loop = asyncio.get_running_loop()
        is_bytes = isinstance(body, bytes)
        data = body if isinstance(body, bytes) else body.encode()
        waiting = [asked.item for asked in self.waiting]
        if len(waiting) >= MAX_WAITING or not _fits(waiting, data, self.waiting_bytes):
            raise NotSent("too many wait")
        self._calls += 1
        item = Item(What.REQUEST, self._calls, depth.get(), 0, is_bytes, data)
        deadline = None if timeout is None else loop.time() + timeout
        asked = Asked(item, loop.create_future(), deadline)
        self.waiting.append(asked)
        self.wake()
        try:
            answer = await asyncio.wait_for(asked.answer, timeout)
        except (TimeoutError, asyncio.CancelledError):
            self._give_up(asked)
            raise
        if answer.what == What.FAILURE:
            raise Failure(answer.short, answer.body.decode())
        reply = answer.body if answer.is_bytes else text_of(answer.body)
        if reply is None:
            raise Failure(FailureCode.NOT_TEXT)
        return reply

    def _give_up(self, asked: Asked) -> None:
        if asked in self.waiting:
            self.waiting.remove(asked)
        elif asked.item.call in self.asked:
            self.ready_items.append(Item(What.CANCEL, asked.item.call))
            self.wake()

    # Sending

    def next_items(self) -> tuple[int, list[Item]] | None:
        """Returns the items to send now with the number of the first, if there are any."""
        self._refuse_waiting()
        if not self.offered:
            return None
        items: list[Item] = []
        size, first = 8, self.base + self.resent
        limit = min(FRAME_BYTES, self.max_payload + 28)
        while len(items) < MAX_ITEMS:
            if self.resent == len(self.sent) and not self._add():
                break
            item = self._timed(self.sent[self.resent])
            size += 4 + ITEM_HEAD + len(item.body)
            if items and size > limit:
                break
            self.resent += 1
            items.append(item)
        return (first, items) if items else None

    def _refuse_waiting(self) -> None:
        """Fails the requests that the peer of this session never takes."""
        for asked in list(self.waiting):
            if self.peers.requests == 0:
                _fail(asked.answer, Failure(FailureCode.NOT_ANSWERED))
            elif len(asked.item.body) > self.peers_max_payload:
                _fail(asked.answer, NotSent("it is longer than the peer accepts"))
            else:
                continue
            self.waiting.remove(asked)

    def _add(self) -> bool:
        """Gives the next item its number, if there is one."""
        if self.ready_items:
            self.sent.append(self._for_peer(self.ready_items.popleft()))
            return True
        for asked in [] if self.drains else self.waiting:
            item = asked.item
            same = [a.item for a in self.asked.values() if a.item.short == item.short]
            used = sum(HEAD + len(other.body) for other in same + [item])
            if len(same) < self.peers.requests and used <= self.peers.window:
                self.waiting.remove(asked)
                self.sent.append(item)
                asked.number = self.base + len(self.sent) - 1
                self.asked[item.call] = asked
                return True
        return False

    def _for_peer(self, item: Item) -> Item:
        """Returns the item, or what is sent in its place because the peer takes nothing so long."""
        longest = self.peers_max_payload
        if item.what == What.REPLY and len(item.body) > longest:
            return Item(What.FAILURE, item.call, FailureCode.TOO_LONG)
        if item.what == What.FAILURE and len(item.body) > longest:
            return replace(item, body=beginning(item.body.decode(), longest).encode())
        return item

    def _timed(self, item: Item) -> Item:
        if item.what != What.REQUEST:
            return item
        deadline = self.asked[item.call].deadline if item.call in self.asked else 0.0
        if deadline is None:
            return replace(item, long=NO_LIMIT)
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        return replace(item, long=min(int(left * 1000), NO_LIMIT - 1))

    def owes(self) -> bool:
        """Returns whether an acknowledgement is due."""
        return self.offered and (self._repeated or self.told < self.received)

    def tell(self) -> int:
        """Returns `received` for a frame."""
        self.told, self._repeated = self.received, False
        return self.received

    # Receiving

    def handle(self, first: int, payload: bytes) -> None:
        """Takes in a CALLS; fails with Violation."""
        require(self.offered, "CALLS from a side that does not offer it")
        received, items = decode_calls(payload, self.max_payload)
        require((first == 0) == (not items), "CALLS with the wrong number")
        require(first + len(items) < 1 << 64, "a number above 2^64 - 2")
        self._acknowledged(received)
        require(first <= self.received + 1, "an item is missing")
        for number, item in enumerate(items, first):
            if number <= self.received:
                self._repeated = True
                continue
            self.received = number
            self._take(item)

    def _acknowledged(self, number: int) -> None:
        require(number < self.base + len(self.sent), "an ack of a call that was never sent")
        while self.base <= number:
            item = self.sent.popleft()
            self.base += 1
            self.resent = max(0, self.resent - 1)
            if item.what in (What.REPLY, What.FAILURE):
                self.answering.pop(item.call, None)

    def _take(self, item: Item) -> None:
        match item.what:
            case What.REQUEST:
                self._take_request(item)
            case What.CANCEL:
                answering = self.answering.get(item.call)
                if answering and not answering.answered:
                    if answering.task:
                        answering.task.cancel()
                    self._answer(item.call, Failure(FailureCode.CANCELLED))
            case _:
                asked = self.asked.pop(item.call, None)
                known = asked is not None and asked.number < self.base
                require(known, "an answer to a call that waits for none")
                assert asked is not None
                if asked.answer.done():
                    self.late += 1
                else:
                    asked.answer.set_result(item)

    def _take_request(self, item: Item) -> None:
        require(item.call not in self.answering, "two calls of one number")
        same = [a.item for a in self.answering.values() if a.item.short == item.short]
        used = sum(HEAD + len(other.body) for other in same + [item])
        fits = len(same) < self.mine.requests and used <= self.mine.window
        require(fits, "more requests than READY allows")
        held = [a.item for a in self.answering.values() if not a.answered]
        answering = self.answering[item.call] = Answering(item)
        refusal = self._refusal(item, held)
        if refusal is not None:
            self._answer(item.call, Failure(refusal))
            return
        answering.task = asyncio.get_running_loop().create_task(self._run(item))

    def _refusal(self, item: Item, held: list[Item]) -> FailureCode | None:
        """Returns the reason why a request is not begun, if it is not."""
        if self.answers is None:
            return FailureCode.NOT_ANSWERED
        if not item.is_bytes and text_of(item.body) is None:
            return FailureCode.NOT_TEXT
        if not _fits(held, item.body, self.request_bytes):
            return FailureCode.NO_ROOM
        return None

    async def _run(self, item: Item) -> None:
        if self.shutting_down:
            self._answer(item.call, Failure(FailureCode.SHUTTING_DOWN))
            return
        depth.set(item.short + 1)
        limit = None if item.long == NO_LIMIT else item.long / 1000
        if limit == 0:
            self._answer(item.call, Failure(FailureCode.EXPIRED))
            return
        assert self.answers is not None
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                answer = await self.answers(item.body if item.is_bytes else item.body.decode())
            self._answer(item.call, Failure(FailureCode.NO_ANSWER) if answer is None else answer)
        except Failure as failure:
            self._answer(item.call, failure)
        except Exception as error:
            if deadline.expired() and isinstance(error, TimeoutError):
                self._answer(item.call, Failure(FailureCode.EXPIRED))
                return
            log.warning("request %s is not answered: %s", item.call, type(error))
            self._answer(item.call, Failure(FailureCode.FAILED))

    def _answer(self, call: int, answer: str | bytes | Failure) -> None:
        """Answers once."""
        answering = self.answering.get(call)
        if answering is None or answering.answered:
            return
        if isinstance(answer, Failure):
            text = beginning(answer.text, MAX_TEXT).encode()
            item = Item(What.FAILURE, call, answer.code, body=text)
        elif isinstance(answer, bytes):
            item = Item(What.REPLY, call, is_bytes=True, body=answer)
        else:
            item = Item(What.REPLY, call, body=answer.encode())
        if item.what == What.REPLY and not _fits(self._replies(), item.body, self.reply_bytes):
            item = Item(What.FAILURE, call, FailureCode.NO_ROOM)
        answering.answered = True
        self.ready_items.append(item)
        self.wake()

    def _replies(self) -> list[Item]:
        """Returns the replies that the peer is not known to have."""
        return [item for item in (*self.sent, *self.ready_items) if item.what == What.REPLY]

    def is_quiet(self) -> bool:
        """Returns whether every request of the peer has an answer that it knows."""
        return not self.answering and not self.owes()


def _fits(held: list[Item], body: bytes, room: int) -> bool:
    """Returns whether a body has room beside what is held; alone, it always has."""
    return not held or sum(HEAD + len(item.body) for item in held) + HEAD + len(body) <= room


def _fail(answer: asyncio.Future[Item], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
