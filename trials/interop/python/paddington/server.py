"""A service that listens: it answers HELLO, and has one slot for each link (§2, §3.4, §8)."""

import asyncio
import logging
import secrets
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from .buckets import choose, of_query, of_url
from .client import ready_of
from .connection import CHALLENGE, SUBPROTOCOL, Connection, End, Socket, message_limit
from .frames import CloseCode, Frame, Kind, Ready, Violation
from .generations import Generation, Ring
from .handshake import INSTANCE, Hello, answer, find, open_hello
from .invitation import Invitation
from .keyring import Keyring, Store
from .keys import LinkKeys, Refused
from .link import Handler, Limits, Link, now

log = logging.getLogger("paddington")
HINTS = 160


@dataclass(frozen=True)
class Alarm:
    """A HELLO with keys that were burned, or have expired."""

    client: str
    address: str


@dataclass
class Slot:
    """The slot of a link: the session that holds it, and the reservation."""

    link: Link
    bucket: int | None = None
    invitation: Invitation | None = None
    connection: Connection | None = None
    instance: bytes = b""
    waiting: Connection | None = None
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    ticket: int = 0
    recent: deque[float] = field(default_factory=deque)

    def candidates(self) -> list["Candidate"]:
        """Returns the keys by which the client is recognised, and those that are an alarm."""
        keyring = self.link.keyring
        if keyring is None:
            return [Candidate(self, self.link.keys, None)]
        ring, now = keyring.ring, keyring.clock()
        valid = [Candidate(self, ring.keys(g), g.number) for g in ring.valid(now)]
        burned = [LinkKeys(b"", b"", outer) for outer in ring.refused(now)]
        return valid + [Candidate(self, keys, None, is_burned=True) for keys in burned]


@dataclass(frozen=True)
class Candidate:
    """Keys with which a HELLO may have been made."""

    slot: Slot
    keys: LinkKeys
    generation: int | None
    is_burned: bool = False


class Server:
    """One instance of a service with clients."""

    def __init__(self, name: str, limits: Limits | None = None) -> None:
        self.name, self.limits = name, limits or Limits()
        self.instance = secrets.token_bytes(INSTANCE)
        self.slots: list[Slot] = []
        self.ends: list[End] = []
        self.busy = 0
        self.alarms: list[Alarm] = []
        self._decoy = LinkKeys.of(name, "nobody", secrets.token_bytes(32), secrets.token_bytes(32))
        self._server: WebSocketServer | None = None

    def add(self, invitation: Invitation, handler: Handler, store: Store | None = None) -> Link:
        """Admits the client of an invitation. `store` is the place for newer keys of the link. Fails
        with ValueError if another link has one of the keys, or the name."""
        kept = store.load() if store is not None else None
        keys = {invitation.inner_key, invitation.outer_key} if kept is None else kept.all_keys()
        for slot in self.slots:
            if slot.link.peer == invitation.client:
                raise ValueError(f"{invitation.client} has an invitation already")
            if keys & self._keys_of(slot):
                raise ValueError(f"{slot.link.peer} has the same keys as {invitation.client}")
        link = Link(invitation.client, invitation.keys(), self.instance, handler, self.limits)
        link.keyring = self._keyring(invitation, store, kept) if store is not None else None
        self.slots.append(Slot(link, of_url(invitation.url), invitation))
        return link

    def _keyring(self, invitation: Invitation, store: Store, kept: Ring | None) -> Keyring:
        keyring = Keyring(store, kept or Ring.begin(invitation, True, 0.0))
        if kept is None:
            valid = self.limits.invitation_valid
            keyring.ring = Ring.begin(invitation, True, keyring.clock(), valid)
            store.replace(keyring.ring)
        elif not kept.is_server or (kept.server, kept.client) != (self.name, invitation.client):
            raise ValueError("these are the keys of another link")
        return keyring

    @staticmethod
    def _keys_of(slot: Slot) -> set[bytes]:
        assert slot.invitation is not None
        if slot.link.keyring is None:
            return {slot.invitation.inner_key, slot.invitation.outer_key}
        return slot.link.keyring.ring.all_keys()

    async def invite_again(self, client: str, valid: float | None = 7 * 24 * 3600.0) -> Invitation:
        """Returns a new invitation for a known client, whose keys are to replace the others."""
        slot = next(slot for slot in self.slots if slot.link.peer == client)
        keyring = slot.link.keyring
        assert keyring is not None and slot.invitation is not None
        made = Invitation.draw(self.name, slot.invitation.url, client)
        now = keyring.clock()
        expires = None if valid is None else now + valid
        pair = made.inner_key, made.outer_key
        numbers: list[int] = []

        def change(ring: Ring) -> Ring:
            numbers.append(ring.highest + 1)
            new = Generation(numbers[0], *pair, handed_over=True, made=now, expires=expires)
            return ring.without_expired(now).invited(new, now, self.limits.overlap)

        if not await keyring.change(change):
            raise OSError("the keys of the invitation cannot be stored")
        until = None if expires is None else datetime.fromtimestamp(int(expires), UTC)
        told = None if until is None else until.strftime("%Y-%m-%dT%H:%M:%SZ")
        link = keyring.ring.link
        return replace(made, link=link, generation=numbers[0], expires=told)

    def remove(self, client: str) -> None:
        """Removes the link of a client, which is told by CLOSE 7, and is a stranger from now on. What
        is stored for the link is left to the caller. Fails with ValueError."""
        slot = next((slot for slot in self.slots if slot.link.peer == client), None)
        if slot is None:
            raise ValueError(f"{client} has no invitation")
        self.slots.remove(slot)
        slot.removed.set()
        slot.link.remove()
        if slot.connection:
            slot.connection.close(CloseCode.REMOVED)

    def bucket(self) -> int:
        """Returns the bucket to name in the invitation of the next client."""
        return choose(Counter(slot.bucket for slot in self.slots if slot.bucket is not None))

    async def listen(self, host: str, port: int = 0) -> int:
        """Listens, and returns the port."""
        self._server = await serve(
            self._serve,
            host,
            port,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            process_request=self._process_request,
            process_response=self._process_response,
            server_header=None,
            open_timeout=self.limits.handshake,
            ping_interval=None,
            max_size=message_limit(self.limits.max_payload),
        )
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def close(self) -> None:
        """Stops listening."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
        for slot in self.slots:
            slot.link.close()

    def _process_request(self, _: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path != "/":
            return Response(HTTPStatus.NOT_FOUND, "Not Found", Headers([("Content-Length", "0")]))
        if "Origin" in request.headers:
            status = HTTPStatus.BAD_REQUEST
            return Response(status, "Bad Request", Headers([("Content-Length", "0")]))
        return None

    def _process_response(
        self, websocket: ServerConnection, _: Request, response: Response
    ) -> Response | None:
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers[CHALLENGE] = secrets.token_hex(32)
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        socket = Socket(websocket)
        assert websocket.request is not None and websocket.response is not None
        challenge = bytes.fromhex(websocket.response.headers[CHALLENGE])
        try:
            async with asyncio.timeout(self.limits.handshake):
                bucket = of_query(urlsplit(websocket.request.path).query)
                message = await socket.receive()
                address = str(websocket.remote_address[0])
                found, hello = self._open(bucket, challenge, message, address)
            await self._admit(found, hello, socket)
        except (Refused, Violation, ConnectionClosed, TimeoutError) as error:
            log.info("a connection is refused: %s", error)
            socket.cut()

    def _open(
        self, bucket: int | None, challenge: bytes, message: bytes, address: str
    ) -> tuple[Candidate, Hello]:
        """Finds the keys of a HELLO; a refusal does the same work, with the decoy."""
        slots = [slot for slot in self.slots if slot.bucket == bucket]
        known = [candidate for slot in slots for candidate in slot.candidates()]
        keys = [candidate.keys for candidate in known]
        keys += [self._decoy] * max(0, HINTS - len(known))
        index = find(keys, challenge, message)
        found = known[index] if index is not None and index < len(known) else None
        if found is not None and not found.is_burned:
            return found, open_hello(found.keys, challenge, message)
        if found is not None:
            self._raise_alarm(Alarm(found.slot.link.peer, address))
        open_hello(self._decoy, challenge, message)
        raise Refused("no link of the bucket has this hint")

    def _raise_alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)
        log.error("%s has keys of %s that were used, or expired", alarm.address, alarm.client)

    async def _admit(self, found: Candidate, hello: Hello, socket: Socket) -> None:
        slot = found.slot
        reply, session = answer(found.keys, hello)
        refusal = await self._refusal(slot, hello)
        if slot.removed.is_set():
            refusal = CloseCode.REMOVED
        number, keyring = found.generation, slot.link.keyring
        connection = Connection(
            slot.link, socket, session, patience=1.25, age=1.2, generation=number
        )
        try:
            if refusal is not None:
                await socket.send(reply)
                await connection.say(Frame(Kind.CLOSE, id=refusal))
                await socket.close(self.limits.flush)
                return
            readies = await self._exchange_readies(slot, hello, reply, connection, socket)
            if readies is None:
                self.ends.append(await connection.dismiss(CloseCode.REMOVED))
                return
            mine, peers = readies
            # The client gives up older keys when it hears from this side after READY: not before
            # these are noted as used. If the disk is full, the session is worth more than the note.
            if slot.removed.is_set():
                connection.close(CloseCode.REMOVED)
            elif keyring is not None and number is not None and not await keyring.use(number):
                if keyring.ring.get(number) is None:
                    raise Refused("these keys were replaced in the meantime")
            self.ends.append(await connection.run(mine, peers))
        finally:
            self._vacate(slot, connection)

    @staticmethod
    def _vacate(slot: Slot, connection: Connection) -> None:
        if slot.connection is connection:
            slot.connection = None

    async def _exchange_readies(
        self, slot: Slot, hello: Hello, reply: bytes, connection: Connection, socket: Socket
    ) -> tuple[Ready, Ready] | None:
        """Sends REPLY and READY, and gives the connection the slot when the client's READY opens.
        Returns nothing if the link was removed meanwhile."""
        slot.ticket += 1
        ticket = slot.ticket
        if slot.waiting:
            slot.waiting.cut()
        slot.waiting = connection
        mine = slot.link.ready()
        await socket.send(reply)
        await connection.say(Frame(Kind.READY, payload=mine.encode()))
        async with asyncio.timeout(self.limits.handshake):
            frame = await self._hear_unless(slot.removed, connection)
        if frame is None:
            return None
        peers = ready_of(frame)
        if peers.instance != hello.instance:
            raise Violation("READY is of another instance than HELLO")
        if ticket != slot.ticket:
            raise Refused("a newer HELLO came")
        keyring, number = slot.link.keyring, connection.generation
        if keyring is not None and number is not None and keyring.ring.get(number) is None:
            raise Refused("these keys were burned in the meantime")
        old, slot.connection = slot.connection, connection
        slot.waiting, slot.instance = None, hello.instance
        if old:
            old.close(CloseCode.REPLACED)
        return mine, peers

    @staticmethod
    async def _hear_unless(removed: asyncio.Event, connection: Connection) -> Frame | None:
        """Opens the next frame, unless the link is removed before it comes."""
        hearing = asyncio.create_task(connection.hear())
        removing = asyncio.create_task(removed.wait())
        try:
            await asyncio.wait({hearing, removing}, return_when=asyncio.FIRST_COMPLETED)
            return None if removed.is_set() else hearing.result()
        finally:
            for task in (hearing, removing):
                task.cancel()
            await asyncio.gather(hearing, removing, return_exceptions=True)

    async def _refusal(self, slot: Slot, hello: Hello) -> CloseCode | None:
        """Returns the reason why an authentic client gets no session, if it gets none."""
        while slot.recent and slot.recent[0] < now() - self.limits.handshake_period:
            slot.recent.popleft()
        slot.recent.append(now())
        if len(slot.recent) > self.limits.handshakes:
            return CloseCode.OVERLOAD
        holder = slot.connection
        if holder is None or slot.instance == hello.instance:
            return None
        holder.opened.clear()
        holder.ping()
        try:
            await asyncio.wait_for(holder.opened.wait(), self.limits.probe)
        except TimeoutError:
            return None
        self.busy += 1
        log.error("a second process uses the invitation of %s", slot.link.peer)
        return CloseCode.BUSY
