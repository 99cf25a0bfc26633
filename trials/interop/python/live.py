"""The live checks: this implementation and `example-echo`, both ways. One line for each."""

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.typing import Origin, Subprotocol

from paddington.buckets import of_url, with_bucket
from paddington.calls import Calls, Failure, FailureCode, depth
from paddington.client import Client, HungUp, challenge, ready_of
from paddington.connection import SUBPROTOCOL, Connection, End, Socket
from paddington.frames import CloseCode, Frame, Kind, Rejection, RejectionCode, StreamEntry
from paddington.handshake import ClientHandshake
from paddington.invitation import Invitation
from paddington.keys import Refused
from paddington.link import Handler, Limits, Link
from paddington.server import Server
from processes import HOST, PATIENCE, Failed, Folder, eventually, expect

COUNT = 3500
REKEYS = 3
BULK, BULK_PAYLOAD, BULK_UNDER_WAY = 60, 500_000, 24
QUICK = Limits(ping_after=0.1, retry_fast=0.05, retries=(0.05,))


async def ignore(_link: Link, _text: str) -> None:
    """A handler that does nothing."""


def echo_until_zero(received: list[str]) -> Handler:
    """The handler of echo-client: sends every message back, and ends after "0"."""

    async def handler(link: Link, text: str) -> None:
        received.append(text)
        link.send(text)
        if text == "0":
            link.shut_down()

    return handler


def count_down(received: list[str]) -> Handler:
    """The handler of echo-server: sends back one less, and ends after "0"."""

    async def handler(link: Link, text: str) -> None:
        received.append(text)
        if text == "0":
            link.shut_down()
        else:
            link.send(str(int(text) - 1))

    return handler


def expect_countdown(received: list[str], count: int) -> None:
    """Fails unless every number was received once and in order."""
    expect(received == [str(n) for n in range(count, -1, -1)], "the countdown is not what was sent")


def expect_rekeys(connection: Connection | None, at_least: int) -> None:
    """Fails unless both directions have changed their keys this often."""
    assert connection is not None
    session = connection.session
    rekeys = session.sending.rekeys, session.receiving.rekeys
    expect(min(rekeys) >= at_least, f"only {rekeys} rekeys")


async def client_counts_down(folder: Folder) -> str:
    """Python's client counts down with Rust's server."""
    received: list[str] = []
    async with folder.server(COUNT) as (echo, invitation):
        client = Client(invitation, echo_until_zero(received), QUICK)
        await asyncio.wait_for(client.run(), PATIENCE)
        await echo.exits()
    expect_countdown(received, COUNT)
    expect_rekeys(client.connection, REKEYS)
    expect([end.code for end in client.ends] == [CloseCode.SHUTDOWN], f"it ended {client.ends}")
    software = client.link.peers_software
    expect(software.startswith("paddington/"), f"it says that it is {software}")
    return f"{len(received)} messages each way, {REKEYS} rekeys each way, CLOSE 1, exit 0"


@asynccontextmanager
async def python_server(
    folder: Folder, handler: Handler, limits: Limits
) -> AsyncIterator[tuple[Server, Link, Path]]:
    """Runs a server of this implementation that has invited echo-client."""
    server, path = Server("python-server", limits), folder.file("from-python.toml")
    port = await server.listen(HOST)
    url = with_bucket(f"ws://{HOST}:{port}/", server.bucket())
    invitation = Invitation.draw("python-server", url, "echo-client")
    invitation.write(path)
    try:
        yield server, server.add(invitation, handler), path
    finally:
        await server.close()


async def server_counts_down(folder: Folder) -> str:
    """Rust's client counts down with Python's server."""
    received: list[str] = []
    async with (
        python_server(folder, count_down(received), QUICK) as (server, link, path),
        folder.client(path, "client") as echo,
    ):
        link.send(str(COUNT))
        await eventually(lambda: server.slots[0].connection is not None, "it connects")
        connection = server.slots[0].connection
        await echo.exits()
        await eventually(lambda: len(server.ends) > 0, "the session ends")
    expect_countdown(received, COUNT)
    expect_rekeys(connection, REKEYS)
    expect([end.code for end in server.ends] == [CloseCode.SHUTDOWN], f"it ended {server.ends}")
    return f"{len(received)} messages each way, {REKEYS} rekeys each way, CLOSE 1, exit 0"


async def client_resumes(folder: Folder) -> str:
    """The connection of Python's client is cut twice, then renewed: nothing is lost or repeated."""
    received: list[str] = []
    echo_back = echo_until_zero(received)

    async def handler(link: Link, text: str) -> None:
        await echo_back(link, text)
        assert client.connection is not None
        if text in ("1500", "1000"):
            client.connection.cut()
        if text == "500":
            client.connection.close(CloseCode.AGE)

    async with folder.server(2000) as (echo, invitation):
        client = Client(invitation, handler, QUICK)
        await asyncio.wait_for(client.run(), PATIENCE)
        await echo.exits()
    expect_countdown(received, 2000)
    ends = [None, None, CloseCode.AGE, CloseCode.SHUTDOWN]
    expect([end.code for end in client.ends] == ends, f"it ended {client.ends}")
    return "2001 messages over two cuts and a CLOSE 5, none lost, none repeated"


async def bulk_is_echoed(folder: Folder) -> str:
    """More bytes than the credit, both ways, with a message that is too long, and a cut."""
    texts = [f"{n} " + "x" * (BULK_PAYLOAD - n) for n in range(BULK)]
    to_send = texts + ["0"]
    received: list[str] = []

    async def handler(link: Link, text: str) -> None:
        received.append(text)
        if to_send:
            link.send(to_send.pop(0))
        connection = server.slots[0].connection
        if len(received) == BULK // 2 and connection is not None:
            connection.cut()

    limits = replace(QUICK, max_payload=BULK_PAYLOAD + 10, window=3 * BULK_PAYLOAD)
    async with (
        python_server(folder, handler, limits) as (server, link, path),
        folder.client(path, "client", quiet=True) as echo,
    ):
        # The first one is longer than example-echo takes, so this side skips it.
        link.send("x" * ((1 << 20) + 1))
        for _ in range(BULK_UNDER_WAY):
            link.send(to_send.pop(0))
        await eventually(lambda: len(received) > BULK, "everything comes back")
        await eventually(lambda: not link.pending, "everything is acknowledged")
        await echo.exits()
    expect(received == texts + ["0"], "what came back is not what was sent")
    size = sum(map(len, texts)) >> 20
    return f"{size} MiB each way through credit and a cut, one message skipped"


async def batches(folder: Folder) -> str:
    """Waiting messages travel in one frame, both ways, and arrive as if they came alone."""
    texts = [f"{n} é" for n in range(2000)] + ["", "0"]
    received: list[str] = []

    async def handler(_link: Link, text: str) -> None:
        received.append(text)

    async with (
        python_server(folder, handler, QUICK) as (server, link, path),
        folder.client(path, "client", quiet=True) as echo,
    ):
        for text in texts:
            link.send(text)
        await eventually(lambda: server.slots[0].connection is not None, "it connects")
        connection = server.slots[0].connection
        await eventually(lambda: len(received) == len(texts), "everything comes back")
        assert connection is not None and connection.conversation is not None
        sent = connection.conversation.batches_sent
        heard = connection.conversation.batches_received
        await echo.exits()
    expect(received == texts, "what came back is not what was sent")
    expect(sent > 0 and heard > 0, f"{sent} batches there, {heard} back")
    return f"{len(texts)} messages, {sent} batches there, {heard} back"


async def python_asks(folder: Folder) -> str:
    """Python's client asks Rust's server: replies, failures, a cancel, over a cut connection."""
    async with folder.server(1000) as (_, invitation):
        client = Client(invitation, ignore, QUICK)
        running = asyncio.create_task(client.run())
        calls = client.link.calls
        numbers = [str(n) for n in range(1, 101)]
        answers = asyncio.gather(*(calls.request(n, PATIENCE) for n in numbers))
        await eventually(lambda: client.connection is not None, "it connects")
        assert client.connection is not None
        client.connection.cut()
        expect(await answers == [str(n) for n in range(100)], "the answers are others")
        expect(await code_of(calls.request("x", PATIENCE)) == FailureCode.FAILED, "no failure")
        expect(await code_of(calls.request("0", PATIENCE)) == FailureCode.NO_ANSWER, "an answer")
        code = await code_of(calls.request(b"1", PATIENCE))
        expect(code == FailureCode.TEXT_ONLY, f"bytes: {code}")
        cancelled = asyncio.create_task(calls.request("5"))
        await asyncio.sleep(0)
        cancelled.cancel()
        expect(await calls.request("6", PATIENCE) == "5", "nothing after a cancel")
        await eventually(lambda: not calls.asked, "the cancelled one is answered too")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return "100 replies over a cut, FAILURE 1, 5 and 6, a cancel"


async def code_of(request: Awaitable[str | bytes]) -> int:
    """Returns the code with which a request fails."""
    try:
        raise Failed(f"it was answered: {await request!r}")
    except Failure as failure:
        return failure.code


async def rust_asks(folder: Folder) -> str:
    """Rust's client asks Python's server, whose deadline travels."""
    ended: list[str] = []

    async def answers(request: str | bytes) -> str | bytes | None:
        if request == "0":
            raise Failure(FailureCode.FAILED, "no number follows 0")
        if request == "1000":
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                ended.append("slow")
        return str(int(request) - 1)

    async with python_server(folder, ignore, QUICK) as (_, link, path):
        link.calls.answers = answers
        code, printed = await folder.ask(path, "500")
        expect(code == 0 and "the answer: 499" in printed, printed)
        code, printed = await folder.ask(path, "0")
        expect(code != 0 and "no number follows 0" in printed, printed)
        code, printed = await folder.ask(path, "1000", timeout=1.0)
        expect(code != 0 and "no answer in time" in printed, printed)
        await eventually(lambda: ended == ["slow"], "the late handler ends")
    return "a reply, a failure with its text, a deadline that ends the handler"


def ask_back(calls: Calls, seen: list[int]) -> None:
    """Answers as `interop` does: with the number, and what it answers to the number before."""

    async def answers(request: str | bytes) -> str | bytes | None:
        # What is asked in here is one deeper.
        seen.append(depth.get() - 1)
        if request == "0":
            return request
        before = await calls.request(str(int(request) - 1), PATIENCE)
        return f"{request!s} {before!s}"

    calls.answers = answers


async def expect_nested(link: Link, seen: list[int], received: list[str]) -> None:
    """Fails unless each side can begin requests within requests, down to depth 3."""
    answer = await link.calls.request("3", PATIENCE)
    expect(answer == "3 2 1 0" and seen == [1, 3], f"{answer!r}, asked at {seen}")
    link.send("ask 3")
    await eventually(lambda: len(received) > 0, "Rust sends what it was answered")
    expect(received == ["3 2 1 0"] and seen == [1, 3, 0, 2], f"{received}, asked at {seen}")


async def nested_requests(folder: Folder) -> str:
    """Each side asks in the handling of the other's requests, and either is the client."""
    seen: list[int] = []
    received: list[str] = []

    async def keep(_link: Link, text: str) -> None:
        received.append(text)

    async with folder.interop_server() as invitation:
        client = Client(invitation, keep, QUICK)
        ask_back(client.link.calls, seen)
        running = asyncio.create_task(client.run())
        await expect_nested(client.link, seen, received)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    seen.clear()
    received.clear()
    async with python_server(folder, keep, QUICK) as (_, link, path):
        ask_back(link.calls, seen)
        async with folder.interop_client(path):
            await expect_nested(link, seen, received)
    return "depths 0 to 3, begun by either side, in both roles"


async def words_of_rejections(folder: Folder) -> str:
    """The words of a handler's error travel in the ACK, both ways."""
    async with folder.interop_server() as invitation:
        client = Client(invitation, ignore, QUICK)
        running = asyncio.create_task(client.run())
        long = "é" * 200
        numbers = [client.link.send(text) for text in ("this", long)]
        words = ["nobody knows what this means", f"nobody knows what {'é' * 118}"]
        told = [Rejection(n, RejectionCode.FAILED, w) for n, w in zip(numbers, words, strict=True)]
        await eventually(lambda: len(client.link.rejections) == 2, "the rejections come")
        expect(client.link.rejections == told, f"it was told {client.link.rejections}")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def fails(_link: Link, text: str) -> None:
        raise ValueError(f"{text} is not wanted here")

    limits = replace(QUICK, reveal_errors=True)
    async with (
        python_server(folder, fails, limits) as (_, link, path),
        folder.client(path, "told"),
    ):
        link.send("it")
        await eventually(lambda: "it is not wanted here" in folder.said("told"), "Rust shows them")
    return "what Rust says, cut after 255 bytes, and what Python says"


async def removed_links(folder: Folder) -> str:
    """A link that is removed ends with CLOSE 7, both ways, and the client is a stranger then."""
    async with python_server(folder, ignore, QUICK) as (server, _, path):
        slot = server.slots[0]
        async with folder.client(path, "removed"):
            await eventually(lambda: slot.connection is not None, "it connects")
            server.remove("echo-client")
            said = "the peer has removed this link"
            await eventually(lambda: said in folder.said("removed"), "Rust says so")
            await eventually(lambda: len(server.ends) > 0, "the session ends")
            expect(server.ends == [End(CloseCode.REMOVED)], f"it ended {server.ends}")
        # Before READY, too.
        server.add(Invitation.read(path), ignore)
        async with raw(Invitation.read(path)) as (_, _, connection, frame):
            expect(frame.kind == Kind.READY, f"it got {frame}")
            server.remove("echo-client")
            frame = await connection.hear()
            expect((frame.kind, frame.id) == (Kind.CLOSE, CloseCode.REMOVED), f"it got {frame}")
        await expect_stranger(Invitation.read(path))
    async with folder.interop_server() as invitation:
        client = Client(invitation, ignore, QUICK)
        running = asyncio.create_task(client.run())
        client.link.send("remove me")
        await eventually(lambda: len(client.ends) > 0, "the session ends")
        expect(client.ends == [End(CloseCode.REMOVED, by_peer=True)], f"it ended {client.ends}")
        await expect_stranger(invitation)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return "CLOSE 7 each way, and before READY; then a closed connection"


async def expect_stranger(invitation: Invitation) -> None:
    """Fails unless the server hangs up, on HELLO or where it admits nobody at this address any more."""
    with suppress(ConnectionClosed, HungUp, InvalidMessage):
        async with raw(invitation) as (*_, frame):
            raise Failed(f"a stranger got {frame}")


async def small_receiver(folder: Folder) -> str:
    """Rust skips a message that is too long for Python, and credit comes message by message."""
    received: list[str] = []

    async def handler(_link: Link, text: str) -> None:
        received.append(text)

    limits = replace(QUICK, max_payload=3, window=3 + 24)
    async with (
        python_server(folder, handler, limits) as (server, link, path),
        folder.client(path, "client") as echo,
    ):
        for text in ("1", "22", "4444", "333", "55555", "9", "0"):
            link.send(text)
        await echo.exits()
        await eventually(lambda: len(server.ends) > 0, "the session ends")
    expect(received == ["1", "22", "333", "9", "0"], f"it got {received}")
    return "two messages skipped, five in order, with room for one at a time"


async def bytes_and_text(folder: Folder) -> str:
    """Text and bytes, mixed, come back from Rust as what they are, over a cut."""
    long = bytes(range(256)) * 300
    messages: list[str | bytes] = [f"{n} é" if n % 3 else bytes([n % 256, 255]) for n in range(600)]
    messages += [b"", "", b"1", "1", long, "0"]
    received: list[str | bytes] = []

    async def keep(_link: Link, message: str | bytes) -> None:
        received.append(message)
        connection = server.slots[0].connection
        if len(received) == 300 and connection is not None:
            connection.cut()

    async with (
        python_server(folder, keep, QUICK) as (server, link, path),
        folder.client(path, "client", quiet=True) as echo,
    ):
        link.bytes_handler = keep
        for message in messages:
            link.send(message)
        await eventually(lambda: len(received) == len(messages), "everything comes back")
        await echo.exits()
    expect(received == messages, "what came back is not what was sent")
    return f"{len(messages)} messages of both kinds, there and back"


async def bytes_for_a_text_handler(folder: Folder) -> str:
    """Rust's server, whose handler takes text, rejects bytes with their own code and goes on."""
    received: list[str] = []
    async with folder.server(3) as (echo, invitation):
        client = Client(invitation, echo_until_zero(received), QUICK)
        number = client.link.send(b"3")
        await asyncio.wait_for(client.run(), PATIENCE)
        await echo.exits()
    expect_countdown(received, 3)
    told = [Rejection(number, RejectionCode.TEXT_ONLY)]
    expect(client.link.rejections == told, f"it was told {client.link.rejections}")
    return "code 5, and the countdown goes on"


async def rejections(folder: Folder) -> str:
    """A message that fails in Rust's handler is rejected once, and the next connection goes on."""
    async with folder.server(1) as (_, invitation):
        client = Client(invitation, ignore, QUICK)
        running = asyncio.create_task(client.run())
        expected: list[Rejection] = []
        for _ in range(2):
            expected.append(Rejection(client.link.send("no number"), RejectionCode.FAILED))
            await eventually(lambda: client.link.rejections == expected, "the rejection comes")
            expect(not client.link.pending, "the message is still kept")
            assert client.connection is not None
            client.connection.cut()
        running.cancel()
        client.link.close()
    return "code 1, told once, on each side of a cut"


async def idle_and_busy(folder: Folder) -> str:
    """Rust's PING is answered, and a second process with the same invitation gets CLOSE 3."""
    async with folder.server(1) as (_, invitation):
        # The first one asks for nothing, so that the server has to.
        first = Client(invitation, ignore, Limits(ping_after=60.0))
        second = Client(invitation, ignore)
        running = asyncio.create_task(first.run())
        await eventually(lambda: first.connection is not None, "it connects")
        assert first.connection is not None
        other = asyncio.create_task(second.run())
        await eventually(lambda: len(second.ends) > 0, "the second client is answered")
        expect(second.ends[0] == End(CloseCode.BUSY, by_peer=True), f"it got {second.ends[0]}")
        other.cancel()
        began = time.monotonic()
        conversation = first.connection.conversation
        assert conversation is not None
        # One PING was the probe, for the second client; the next is the one of §7.
        await eventually(lambda: conversation.pings_received >= 2, "a PING comes", 15)
        expect(not first.ends, "the first client lost its session")
        running.cancel()
    return f"CLOSE 3 for the second process, a PING after {time.monotonic() - began:.0f} s"


async def who_asks(folder: Folder) -> str:
    """Python's client asks after a silence and is answered, and so Rust's server need not ask."""
    async with folder.server(1) as (_, invitation):
        client = Client(invitation, ignore, Limits(ping_after=0.2))
        running = asyncio.create_task(client.run())
        await eventually(lambda: client.connection is not None, "it connects")
        assert client.connection is not None
        conversation = client.connection.conversation
        assert conversation is not None
        await eventually(lambda: conversation.pings_answered >= 5, "PINGs are answered")
        expect(conversation.pings_received == 0, "the server asks although it hears its peer")
        running.cancel()
    return "5 PINGs of the client were answered, the server asked nothing"


async def newer_and_busy(folder: Folder) -> str:
    """Python's server has one slot: a second Rust client is refused, a restarted one is not."""
    received: list[str] = []
    async with python_server(folder, count_down(received), QUICK) as (server, link, path):
        slot = server.slots[0]
        async with folder.client(path, "first") as first:
            await eventually(lambda: slot.connection is not None, "the first one connects")
            instance = slot.instance
            async with folder.client(path, "second"):
                await eventually(lambda: server.busy > 0, "the second one is refused")
            expect(slot.instance == instance, "the second one took the slot")
            await first.kill()
        async with folder.client(path, "third") as third:
            link.send("10")
            await third.exits()
    expect_countdown(received, 10)
    return "CLOSE 3 for a second client, the slot for a restarted one"


@asynccontextmanager
async def raw(invitation: Invitation) -> AsyncIterator[tuple[Client, Socket, Connection, Frame]]:
    """Opens a connection up to the server's frame 0, and lets the check do the rest."""
    client = Client(invitation, ignore)
    socket = Socket(await client.dial())
    try:
        yield client, socket, *(await client.shake_hands(socket))
    finally:
        socket.cut()
        client.link.close()


async def violations(folder: Folder) -> str:
    """A broken rule gets CLOSE 4 after READY; before it, the connection just closes."""
    long_way = Frame(Kind.DATA, id=2, payload=b"7").encode()
    last = [long_way, Frame(Kind.ACK, ack=99).encode(), Frame(Kind.PING).encode()[:-1] + b"\1"]
    last.append(Frame(Kind.READY, payload=b"x").encode())
    last.append(Frame(Kind.PING, is_bytes=True).encode())
    last.append(Frame(Kind.BATCH, id=1, payload=b"\2\0\0\0011").encode())
    async with folder.server(1) as (_, invitation):
        for plaintext in last:
            async with raw(invitation) as (client, socket, connection, _):
                ready = Frame(Kind.READY, payload=client.link.ready().encode())
                await connection.say(ready)
                await socket.send(connection.session.sending.seal(plaintext))
                while (frame := await connection.hear()).kind != Kind.CLOSE:
                    pass
                expect(frame.id == CloseCode.VIOLATION, f"CLOSE {frame.id}")
        async with raw(invitation) as (_, socket, connection, _):
            await connection.say(Frame(Kind.PING))
            await expect_cut(connection)
        client = Client(invitation, ignore)  # handshakes are counted per instance
        for kind in [Kind.READY] * 5 + [Kind.CLOSE]:
            socket = Socket(await client.dial())
            _, frame = await client.shake_hands(socket)
            socket.cut()
            expect(frame.kind == kind, f"it got {frame}")
        expect(frame.id == CloseCode.OVERLOAD, f"CLOSE {frame.id}")
    async with folder.server(1) as (_, invitation):
        async with raw(invitation) as (client, _, connection, frame):
            peer = ready_of(frame)
            mine = replace(client.link.ready(), yours=[StreamEntry(peer.instance, 5, 5)])
            await connection.say(Frame(Kind.READY, payload=mine.encode()))
            expect((await connection.hear()).id == CloseCode.VIOLATION, "an impossible READY")
        async with raw(invitation) as (client, _, connection, frame):
            mine = replace(client.link.ready(), mine=[StreamEntry(client.instance, 0, 1)])
            await connection.say(Frame(Kind.READY, payload=mine.encode()))
            await expect_cut(connection)
    return "CLOSE 4 for seven, a closed connection for two, CLOSE 6 for too many handshakes"


async def expect_cut(connection: Connection) -> None:
    """Fails if anything comes before the end, even a WebSocket Close."""
    with suppress(ConnectionClosed):
        frame = await asyncio.wait_for(connection.hear(), PATIENCE)
        raise Failed(f"it got {frame}")


async def refusals(folder: Folder) -> str:
    """A stranger who does not know the keys learns nothing."""
    async with folder.server(1) as (_, invitation):
        stranger = replace(invitation, inner_key=bytes(range(32)))
        renamed = replace(invitation, client="echo-client2")
        bucket = of_url(invitation.url)
        expect(bucket is not None, f"no bucket in {invitation.url}")
        other = with_bucket(invitation.url, (bucket or 0) ^ 1)
        lost = [other, invitation.url.partition("?")[0], with_bucket(other, 0) + "&b=000"]
        strayed = [replace(invitation, url=url) for url in lost]
        for wrong in (stranger, renamed, *strayed):
            await expect_stranger(wrong)
        await expect_no_replay(invitation)
        url = invitation.url.partition("?")[0]
        expect(await status(url + "elsewhere", SUBPROTOCOL) == 404, "another path")
        expect(await status(url, "chat") == 400, "another subprotocol")
        expect(await status(url, None) == 400, "no subprotocol")
        expect(await status(url, SUBPROTOCOL, Origin("http://x")) == 400, "an Origin")
    return "wrong keys, names and buckets, a replayed HELLO, 404 and 400"


async def expect_no_replay(invitation: Invitation) -> None:
    """A HELLO is valid for one challenge only."""
    client = Client(invitation, ignore)
    websocket = await client.dial()
    handshake = ClientHandshake(client.link.keys, client.instance, challenge(websocket))
    Socket(websocket).cut()
    socket = Socket(await client.dial())
    await socket.send(handshake.hello)
    with suppress(ConnectionClosed):
        raise Failed(f"a replayed HELLO got {len(await socket.receive())} bytes")
    client.link.close()


async def status(url: str, subprotocol: str | None, origin: Origin | None = None) -> int:
    """Returns the status with which the server answers a request."""
    subprotocols = [Subprotocol(subprotocol)] if subprotocol else None
    try:
        websocket = await connect(
            url, subprotocols=subprotocols, origin=origin, compression=None, proxy=None
        )
    except InvalidStatus as error:
        expect(error.response.body in (b"", None), "the answer is not empty")
        return error.response.status_code
    Socket(websocket).cut()
    return 101


CHECKS: dict[str, Callable[[Folder], Awaitable[str]]] = {
    "python client, rust server": client_counts_down,
    "rust client, python server": server_counts_down,
    "resuming": client_resumes,
    "credit": bulk_is_echoed,
    "batches": batches,
    "text and bytes, python server": bytes_and_text,
    "bytes for a text handler, rust server": bytes_for_a_text_handler,
    "requests, python asks": python_asks,
    "requests, rust asks": rust_asks,
    "requests within requests": nested_requests,
    "small receiver": small_receiver,
    "rejections": rejections,
    "words of rejections": words_of_rejections,
    "removed links": removed_links,
    "one session per link, rust server": idle_and_busy,
    "who asks, rust server": who_asks,
    "one session per link, python server": newer_and_busy,
    "violations": violations,
    "refusals": refusals,
}


async def run(name: str, check: Callable[[Folder], Awaitable[str]], program: Path) -> bool:
    """Runs one check and prints its result."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(program, Path(path))
        try:
            async with asyncio.timeout(50):
                print(f"ok      {name}: {await check(folder)}", flush=True)
            return True
        except (Failed, Refused, AssertionError, TimeoutError, ConnectionClosed, OSError) as error:
            print(f"FAILED  {name}: {error!r}\n{folder.log()}", flush=True)
            return False


async def main(program: Path) -> int:
    """Runs all checks, and beside them the one that waits for a PING."""
    waiting = asyncio.create_task(run("one session per link, rust server", idle_and_busy, program))
    results = [
        await run(name, check, program)
        for name, check in CHECKS.items()
        if check is not idle_and_busy
    ]
    results.append(await waiting)
    return 0 if all(results) else 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    sys.exit(asyncio.run(main(Path(sys.argv[1]).resolve())))
