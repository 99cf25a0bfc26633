"""The renewal of a link's keys in a session (§5.5), in both roles."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .frames import Frame, Kind, require
from .generations import Generation, Ring
from .keyring import Keyring
from .session import RenewalSecrets


class Renewal:
    """The renewals of one session in which both READYs have the bit."""

    def __init__(
        self,
        keyring: Keyring,
        generation: int,
        secrets: RenewalSecrets,
        say: Callable[[Frame], None],
        *,
        renew_after: float = 30 * 86400.0,
        ask_every: float = 10.0,
        store_every: float = 1.0,
    ) -> None:
        """`generation` is that of the session's keys."""
        self.keyring, self._secrets, self._say = keyring, secrets, say
        self._renew_after, self._ask_every = renew_after, ask_every
        self._store_every = store_every
        # The generation of the session's keys.
        self.base = generation
        # Whether the client has keys that were agreed on in this session, after which there are no others,
        # and whether it has said that it has none from before.
        self.renewed = False
        self._has_none = False
        self.wanted = False
        self.draining = False
        self.over = False
        # Of the server, the generation of the RENEW that is not answered; of the client likewise.
        self.unanswered: int | None = None
        self._asked: float | None = None
        self._stored: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._storing = False

    def end(self) -> None:
        """The session has ended, or has lost the slot: nothing more of it is stored."""
        self.over = True

    def request(self) -> None:
        """The application of this side asks for new keys."""
        if self.keyring.ring.is_server:
            self.wanted = True
            self.consider()
        elif not self.draining and not self.over and self._may_ask():
            self._say(Frame(Kind.RENEW))

    def handle(self, frame: Frame) -> None:
        """Takes in a RENEW or RENEWED; fails with Violation."""
        require(frame.id < 1 << 63, "a generation with too high a number")
        if not self.keyring.ring.is_server:
            self._handle_as_client(frame)
        elif frame.kind == Kind.RENEW:
            require(frame.id == 0, "a client that says which keys come next")
            # Who asks while there is something to answer is answered by nothing.
            if self._may_ask() and self.unanswered is None and not self._storing:
                self.wanted = True
                self.consider()
        else:
            require(self.unanswered == frame.id, "RENEWED that answers no RENEW")
            self.unanswered = None
            if frame.id == self.base:
                self._has_none = self.wanted = True
                return self.consider()
            self.renewed, self.wanted = True, False
            before = self.keyring.ring.get(self.base)
            if before is not None and before.handed_over:
                self._start(self._burn(frame.id))

    def _may_ask(self) -> bool:
        """Returns whether a client may ask again, and notes that it has."""
        if self._asked is not None and _now() - self._asked < self._ask_every:
            return False
        self._asked = _now()
        return True

    # The server

    def consider(self) -> None:
        """Begins a renewal, if one is due and can be begun."""
        ring = self.keyring.ring
        kept = ring.get(self.base)
        idle = self.unanswered is None and not self._storing and not self.draining
        if not ring.is_server or not idle or self.over or self.renewed or kept is None:
            return
        old = self.keyring.clock() - kept.made >= self._renew_after
        if not (self.wanted or kept.handed_over or old):
            return
        if ring.waits(self.base, self.keyring.clock()):
            self.wanted = False
        elif ring.waiting(self.base) is not None and not self._has_none:
            # The client may have the keys that wait, or not: it says so.
            self.unanswered = self.base
            self._say(Frame(Kind.RENEW, id=self.base))
        else:
            self._start(self._renew())

    async def _renew(self) -> None:
        new: list[Generation] = []

        def change(ring: Ring) -> Ring | None:
            if self.over or self.draining:
                return None
            self.wanted = False
            now = self.keyring.clock()
            ring = ring.without_expired(now)
            if ring.get(self.base) is None or ring.waits(self.base, now):
                return None
            number = max(ring.highest, self.base) + 1
            new.append(Generation(number, *self._secrets.keys(number), made=now))
            return ring.agreed(self.base, new[0])

        if await self.keyring.change(change) and not self.over and not self.draining:
            self._secrets.advance()
            self.unanswered = new[0].number
            self._say(Frame(Kind.RENEW, id=new[0].number))

    async def _burn(self, number: int) -> None:
        await self.keyring.change(lambda ring: ring.confirmed(number))

    # The client

    def _handle_as_client(self, frame: Frame) -> None:
        require(frame.kind == Kind.RENEW, "RENEWED from the server")
        require(frame.id >= self.base, "a RENEW that is older than the session's keys")
        require(self.unanswered is None, "a RENEW while another is not answered")
        if frame.id == self.base and self.keyring.ring.waiting(self.base) is None:
            return self._say(Frame(Kind.RENEWED, id=self.base))
        self.unanswered = frame.id
        if frame.id == self.base:
            # It has fallen back from these keys, which the server may be about to remove.
            return self._start(self._store(lambda ring: ring.fallen_back(self.base), frame.id))
        keys = self._secrets.keys(frame.id)
        self._secrets.advance()
        self._start(self._take(Generation(frame.id, *keys, made=self.keyring.clock())))

    async def _take(self, new: Generation) -> None:
        await self._store(lambda ring: ring.taken(self.base, new), new.number)

    async def _store(self, changed: Callable[[Ring], Ring], number: int) -> None:
        """Stores a changed list of the client, and then sends RENEWED."""
        if self._stored is not None:
            await asyncio.sleep(max(0.0, self._stored + self._store_every - _now()))
        self._stored = _now()

        def change(ring: Ring) -> Ring | None:
            return None if self.over else changed(ring)

        if await self.keyring.change(change) and not self.over:
            self.unanswered = None
            self._say(Frame(Kind.RENEWED, id=number))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await work
            self._storing = False
            if self.wanted:
                self.consider()

        self._storing = True
        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> float:
    return asyncio.get_running_loop().time()
