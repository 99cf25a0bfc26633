"""An established session on its WebSocket: frames go out and come in until it ends (§4, §7)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed

from .conversation import Conversation
from .frames import UNDERSTANDS_RENEW, CloseCode, Frame, Kind, Ready, Violation, padme
from .keys import Refused
from .link import Link, now
from .renewal import Renewal
from .session import Session

log = logging.getLogger("paddington")

SUBPROTOCOL = "paddington.sealed.1"
CHALLENGE = "Paddington-Challenge"
LEAST_MESSAGE_LIMIT = 8192


def message_limit(max_payload: int) -> int:
    """Returns the length of the longest WebSocket message that is read."""
    return max(LEAST_MESSAGE_LIMIT, 32 + padme(24 + max_payload))


class Socket:
    """A WebSocket of binary messages that can be cut."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket

    async def send(self, message: bytes) -> None:
        """Sends one message; fails with ConnectionClosed."""
        await self.websocket.send(message)

    async def receive(self) -> bytes:
        """Reads the next message; a text message is a violation."""
        message = await self.websocket.recv()
        if not isinstance(message, bytes):
            raise Violation("a text message")
        return message

    def cut(self) -> None:
        """Closes the TCP connection without a word."""
        self.websocket.transport.abort()

    async def close(self, within: float) -> None:
        """Flushes and closes."""
        try:
            await asyncio.wait_for(self.websocket.close(), within)
        except TimeoutError:
            self.cut()


@dataclass(frozen=True)
class End:
    """The end of a session: the code of CLOSE, if there was one, and which side sent it."""

    code: int | None
    by_peer: bool = False


class Connection:
    """An established connection of a link."""

    def __init__(
        self,
        link: Link,
        socket: Socket,
        session: Session,
        patience: float = 1.0,
        age: float = 1.0,
        generation: int | None = None,
    ) -> None:
        """`patience` and `age` are the parts of a client's times after which this side asks (§7), and
        ends a session (§4). `generation` is that of the keys, if this side can store newer ones."""
        self.generation = generation
        # Called when a frame behind READY has opened that is not CLOSE.
        self.at_first_frame: Callable[[], Awaitable[None]] | None = None
        self.link, self.session = link, session
        self._ping_after = patience * link.limits.ping_after
        self._oldest = age * link.limits.session_age
        self._socket = socket
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self.opened = asyncio.Event()
        self.last_opened = self.began = now()
        self.conversation: Conversation | None = None
        # The code with which it is to end before it has begun.
        self._closing: int | None = None
        self.readers_failure: Exception | None = None

    async def say(self, frame: Frame) -> None:
        """Sends a frame."""
        await self._socket.send(self.session.sending.seal(frame.encode()))

    async def hear(self) -> Frame:
        """Opens the next frame."""
        plaintext = self.session.receiving.unseal(await self._socket.receive())
        self.last_opened = now()
        self.opened.set()
        return Frame.decode(plaintext, self.link.limits.max_payload)

    def cut(self) -> None:
        """Ends it as a broken network would."""
        self._socket.cut()

    def close(self, code: int) -> None:
        """Ends it with this code."""
        if self.conversation:
            self.conversation.close(code)
        else:
            self._closing = self._closing or code

    async def dismiss(self, code: int) -> End:
        """Ends it with this code, if it has no session."""
        await self._say_last(code)
        await self._socket.close(self.link.limits.flush)
        return End(code)

    def ping(self) -> None:
        """Asks whether the peer is there."""
        if self.conversation:
            self.conversation.ping()

    async def run(self, mine: Ready, peers: Ready) -> End:
        """Runs the session until one side or the network ends it."""
        if self._closing is not None:
            return await self.dismiss(self._closing)
        self.conversation = conversation = Conversation(self.link, mine, peers, self._wake.set)
        conversation.renewal = renewal = self._renewal(conversation)
        try:
            conversation.begin()
            if renewal:
                renewal.consider()
            tasks = [self._read(conversation), self._write(conversation), self._live(conversation)]
            await self._first_of(tasks)
        except Violation as violation:
            log.warning("%s breaks the protocol: %s", self.link.peer, violation)
            await self._say_last(CloseCode.VIOLATION)
        except (Refused, ConnectionClosed) as error:
            log.info("the connection with %s is lost: %s", self.link.peer, error)
            self.cut()
            return End(None)
        finally:
            if renewal:
                renewal.end()
            if self.link.attached is conversation:
                self.link.attached = None
        await self._socket.close(self.link.limits.flush)
        if conversation.peer_closed is not None:
            return End(conversation.peer_closed, by_peer=True)
        return End(conversation.closing or CloseCode.VIOLATION)

    def _renewal(self, conversation: Conversation) -> Renewal | None:
        """Returns the renewals of the session, if both READYs have the bit."""
        both = conversation.mine.features & conversation.peers.features & UNDERSTANDS_RENEW
        keyring, limits = self.link.keyring, self.link.limits
        if not both or keyring is None or self.generation is None:
            return None
        return Renewal(
            keyring,
            self.generation,
            self.session.renewal,
            conversation.say,
            renew_after=limits.renew_after,
            ask_every=limits.ask_every,
            store_every=limits.store_every,
        )

    async def _first_of(self, coroutines: list[Any]) -> None:
        """Runs them until the first ends, and fails as it does."""
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if task in done:
                task.result()

    async def _say_last(self, code: int) -> None:
        try:
            await asyncio.wait_for(self.say(Frame(Kind.CLOSE, id=code)), self.link.limits.flush)
        except (ConnectionClosed, TimeoutError):
            self.cut()

    async def _read(self, conversation: Conversation) -> None:
        while conversation.peer_closed is None:
            frame = await self.hear()
            if self.at_first_frame is not None and frame.kind != Kind.CLOSE:
                at_first_frame, self.at_first_frame = self.at_first_frame, None
                await at_first_frame()
            if self.link.attached is conversation:
                conversation.handle(frame)

    async def _write(self, conversation: Conversation) -> None:
        while True:
            self._wake.clear()
            while (frame := conversation.next_frame()) is not None:
                await self.say(frame)
                if frame.kind == Kind.CLOSE:
                    return
            try:
                await asyncio.wait_for(self._wake.wait(), conversation.patience())
            except TimeoutError:
                continue

    async def _live(self, conversation: Conversation) -> None:
        """Asks for a sign of life after a silence, and ends a session that is dead or too old."""
        limits = self.link.limits
        asked = self.began
        while True:
            due = max(asked, self.last_opened) + self._ping_after - now()
            await asyncio.sleep(min(max(due, 0.01), self._ping_after, self._oldest / 4))
            if conversation.renewal:
                conversation.renewal.consider()
            if now() - self.last_opened > limits.dead_after:
                raise Refused("no sign of life")
            if now() - self.began > self._oldest:
                conversation.close(CloseCode.AGE)
            if now() - max(asked, self.last_opened) >= self._ping_after:
                asked = now()
                conversation.ping()
