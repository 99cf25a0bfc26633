"""A service that connects: it dials, shakes hands, converses, and dials again (§2, §3, §9)."""

import asyncio
import logging
import random
import re
import secrets

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .connection import CHALLENGE, SUBPROTOCOL, Connection, End, Socket, message_limit
from .frames import CloseCode, Frame, Kind, Ready, Violation
from .generations import Ring
from .handshake import INSTANCE, ClientHandshake
from .invitation import Invitation
from .keyring import Keyring, Store
from .keys import Refused
from .link import Handler, Limits, Link, now

log = logging.getLogger("paddington")
DIGITS = re.compile(r"[0-9a-f]{64}")
GOOD_SESSION = 10.0


class HungUp(Refused):
    """The server has hung up on HELLO: perhaps it does not have these keys any more."""


class _Connect(connect):
    """A connect that follows no redirection."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def challenge(websocket: ClientConnection) -> bytes:
    """Returns the challenge in the server's answer; fails with Refused."""
    if websocket.subprotocol != SUBPROTOCOL or websocket.response is None:
        raise Refused("another subprotocol")
    found = websocket.response.headers.get_all(CHALLENGE)
    if len(found) != 1 or not DIGITS.fullmatch(found[0]):
        raise Refused("no challenge, or more than one")
    return bytes.fromhex(found[0])


def ready_of(frame: Frame) -> Ready:
    """Opens a READY, frame 0 of a session."""
    if frame.kind != Kind.READY:
        raise Violation("frame 0 is no READY")
    return Ready.decode(frame.payload)


class Client:
    """One instance of the client of an invitation."""

    def __init__(
        self,
        invitation: Invitation,
        handler: Handler,
        limits: Limits | None = None,
        store: Store | None = None,
    ) -> None:
        """`store` is the place for newer keys of the link."""
        self.limits = limits or Limits()
        self.instance = secrets.token_bytes(INSTANCE)
        keys = invitation.keys()
        self.link = Link(invitation.server, keys, self.instance, handler, self.limits)
        self.connection: Connection | None = None
        self.ends: list[End] = []
        self._url = invitation.url
        if store is not None:
            self.link.keyring = self._keyring(invitation, store)
        # How often the server has hung up on HELLO in a row.
        self._hung_up = 0

    @staticmethod
    def _keyring(invitation: Invitation, store: Store) -> Keyring:
        """Returns the stored keys; an invitation that is news is the newest generation."""
        kept = store.load()
        keyring = Keyring(store, kept or Ring.begin(invitation, False, 0.0))
        if kept is not None:
            if kept.is_server or (kept.server, kept.client) != (
                invitation.server,
                invitation.client,
            ):
                raise ValueError("these are the keys of another link")
            keyring.ring = kept.with_invitation(invitation, keyring.clock())
        return keyring

    async def run(self) -> None:
        """Stays connected until the link is shut down and everything accepted is delivered."""
        failures = 0
        try:
            while not (self.ends and self._is_over(self.ends[-1])):
                began = now()
                end = await self._attempt()
                self.ends.append(end)
                failures = 0 if now() - began >= GOOD_SESSION else failures + 1
                if not self._is_over(end):
                    await asyncio.sleep(self._pause(end, failures))
        finally:
            self.link.close()

    def _is_over(self, end: End) -> bool:
        over = end.code == CloseCode.SHUTDOWN or not self.link.pending
        return self.link.shutting_down.is_set() and over

    def _pause(self, end: End, failures: int) -> float:
        limits = self.limits
        if end.by_peer and end.code in (CloseCode.BUSY, CloseCode.VIOLATION):
            return limits.retry_busy
        if end.by_peer and end.code in (CloseCode.OVERLOAD, CloseCode.REMOVED):
            return min(60.0, 5.0 * 2.0**failures)
        if failures == 0 or (end.code == CloseCode.AGE and not end.by_peer):
            return random.uniform(0, limits.retry_fast)
        return limits.retries[min(failures, len(limits.retries)) - 1] * random.uniform(0.9, 1)

    async def _attempt(self) -> End:
        """Makes one connection and runs it until it ends."""
        try:
            socket = Socket(await self.dial())
        except (OSError, InvalidHandshake, TimeoutError) as error:
            log.info("cannot connect to %s: %s", self.link.peer, error)
            busy = isinstance(error, InvalidStatus) and error.response.status_code == 429
            return End(CloseCode.OVERLOAD, by_peer=True) if busy else End(None)
        try:
            async with asyncio.timeout(self.limits.answer):
                connection, frame = await self.shake_hands(socket)
            if frame.kind == Kind.CLOSE:
                await socket.close(self.limits.flush)
                return End(frame.id, by_peer=True)
            peers, mine = ready_of(frame), self.link.ready()
            await connection.say(Frame(Kind.READY, payload=mine.encode()))
        except (Refused, Violation, ConnectionClosed, TimeoutError) as error:
            log.info("the handshake with %s failed: %s", self.link.peer, error)
            socket.cut()
            return End(None)
        self.connection = connection
        return await connection.run(mine, peers)

    async def dial(self) -> ClientConnection:
        """Opens a WebSocket to the server, which answers with 101."""
        return await _Connect(
            self._url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            open_timeout=self.limits.answer,
            ping_interval=None,
            max_size=message_limit(self.limits.max_payload),
        )

    async def shake_hands(self, socket: Socket) -> tuple[Connection, Frame]:
        """Makes the handshake up to the server's frame 0."""
        found = challenge(socket.websocket)
        generation = await self._generation()
        handshake = ClientHandshake(self.link.keys, self.instance, found)
        await socket.send(handshake.hello)
        try:
            reply = await socket.receive()
        except ConnectionClosed as error:
            self._hung_up += 1
            raise HungUp(f"it hangs up on HELLO: {error}") from None
        self._hung_up = 0
        session = handshake.finish(reply)
        age = random.uniform(0.9, 1.1)
        connection = Connection(self.link, socket, session, age=age, generation=generation)
        connection.at_first_frame = lambda: self._used(generation)
        return connection, await connection.hear()

    async def _generation(self) -> int | None:
        """Takes the keys of the next generation to try, once nothing is being stored any more."""
        keyring = self.link.keyring
        if keyring is None:
            return None
        async with keyring.lock:
            kept = keyring.newest_first()
            # Each twice, since a connection may break at this moment, too, and the oldest once.
            generation = kept[self._hung_up % (2 * len(kept) - 1) // 2]
            self.link.keys = keyring.ring.keys(generation)
            return generation.number

    async def _used(self, number: int | None) -> None:
        """The server has noted that this generation is used: older ones are not needed any more."""
        keyring = self.link.keyring
        if keyring is not None and number is not None:
            await keyring.use(number)
