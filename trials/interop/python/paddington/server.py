"""A service that listens: it answers HELLO, and has one slot for each link (§2, §3.4, §8)."""

import asyncio
import logging
import secrets
from collections import Counter, deque
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from .buckets import CLIENTS, choose, of_query, of_url
from .client import ready_of
from .connection import CHALLENGE, SUBPROTOCOL, Connection, End, Socket, message_limit
from .frames import CloseCode, Frame, Kind, Violation
from .handshake import INSTANCE, Hello, answer, find, open_hello
from .invitation import Invitation
from .keys import LinkKeys, Refused
from .link import Handler, Limits, Link, now

log = logging.getLogger("paddington")


@dataclass
class Slot:
    """The slot of a link: the session that holds it, and the reservation."""

    link: Link
    bucket: int | None = None
    connection: Connection | None = None
    instance: bytes = b""
    waiting: Socket | None = None
    ticket: int = 0
    recent: deque[float] = field(default_factory=deque)


class Server:
    """One instance of a service with clients."""

    def __init__(self, name: str, limits: Limits | None = None) -> None:
        self.name, self.limits = name, limits or Limits()
        self.instance = secrets.token_bytes(INSTANCE)
        self.slots: list[Slot] = []
        self.ends: list[End] = []
        self.busy = 0
        self._decoy = LinkKeys.of(name, "nobody", secrets.token_bytes(32), secrets.token_bytes(32))
        self._server: WebSocketServer | None = None

    def add(self, invitation: Invitation, handler: Handler) -> Link:
        """Admits the client of an invitation."""
        keys = invitation.keys()
        link = Link(invitation.client, keys, self.instance, handler, self.limits)
        self.slots.append(Slot(link, of_url(invitation.url)))
        return link

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
                slot, hello = self._open(bucket, challenge, await socket.receive())
            await self._admit(slot, hello, socket)
        except (Refused, Violation, ConnectionClosed, TimeoutError) as error:
            log.info("a connection is refused: %s", error)
            socket.cut()

    def _open(self, bucket: int | None, challenge: bytes, message: bytes) -> tuple[Slot, Hello]:
        """Finds the link of a HELLO; a refusal does the same work, with the decoy."""
        slots = [slot for slot in self.slots if slot.bucket == bucket]
        missing = max(0, CLIENTS - len(slots))
        keys = [slot.link.keys for slot in slots] + [self._decoy] * missing
        index = find(keys, challenge, message)
        if index is None or index >= len(slots):
            open_hello(self._decoy, challenge, message)
            raise Refused("no link of the bucket has this hint")
        return slots[index], open_hello(slots[index].link.keys, challenge, message)

    async def _admit(self, slot: Slot, hello: Hello, socket: Socket) -> None:
        reply, session = answer(slot.link.keys, hello)
        refusal = await self._refusal(slot, hello)
        connection = Connection(slot.link, socket, session, patience=1.25, age=1.2)
        if refusal is not None:
            await socket.send(reply)
            await connection.say(Frame(Kind.CLOSE, id=refusal))
            await socket.close(self.limits.flush)
            return
        slot.ticket += 1
        ticket = slot.ticket
        if slot.waiting:
            slot.waiting.cut()
        slot.waiting = socket
        mine = slot.link.ready()
        await socket.send(reply)
        await connection.say(Frame(Kind.READY, payload=mine.encode()))
        async with asyncio.timeout(self.limits.handshake):
            peers = ready_of(await connection.hear())
        if peers.instance != hello.instance:
            raise Violation("READY is of another instance than HELLO")
        if ticket != slot.ticket:
            raise Refused("a newer HELLO came")
        old, slot.connection = slot.connection, connection
        slot.waiting, slot.instance = None, hello.instance
        if old:
            old.close(CloseCode.REPLACED)
        try:
            self.ends.append(await connection.run(mine, peers))
        finally:
            if slot.connection is connection:
                slot.connection = None

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
