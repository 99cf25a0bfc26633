"""Sessions on real sockets: how a server ends them, and removes a link."""

import asyncio
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from paddington.calls import LinkRemoved
from paddington.client import Client
from paddington.connection import Connection, End, Socket
from paddington.frames import CloseCode, Frame, Kind
from paddington.generations import Ring
from paddington.invitation import Invitation
from paddington.keyring import KeyFile
from paddington.link import Limits, Link
from paddington.server import Server
from processes import HOST, eventually

QUICK = Limits(retry_fast=0.01, retries=(0.01,), probe=0.2, handshakes=1000)


async def ignore(_: Link, _text: str) -> None:
    """A handler that does nothing."""


class SlowFile(KeyFile):
    """A file that takes its time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.saving, self.go = asyncio.Event(), asyncio.Event()

    async def save(self, ring: Ring) -> None:
        self.saving.set()
        await self.go.wait()
        await super().save(ring)


class Sessions(unittest.IsolatedAsyncioTestCase):
    """A server with one client."""

    async def asyncSetUp(self) -> None:
        self.clients: list[Client] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.received: list[str] = []
        await self.serve(QUICK)

    async def asyncTearDown(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for client in self.clients:
            if client.connection:
                client.connection.cut()
            client.link.close()
        await self.server.close()

    async def serve(self, limits: Limits) -> None:
        """Starts a server."""
        self.server = Server("server", limits)
        url = f"ws://{HOST}:{await self.server.listen(HOST)}/"
        self.invitation = Invitation.draw("server", url, "client")

    async def keep(self, _: Link, text: str) -> None:
        """The server's handler."""
        self.received.append(text)

    def client(self, limits: Limits = QUICK) -> Client:
        """Returns a client that does nothing by itself."""
        client = Client(self.invitation, ignore, limits)
        self.clients.append(client)
        return client

    def join(self, limits: Limits = QUICK) -> Client:
        """Starts a client."""
        client = self.client(limits)
        # It dials again at once, whatever it is told.
        client._pause = lambda *_: 0.01  # type: ignore[method-assign]
        self.tasks.append(asyncio.create_task(client.run()))
        return client

    async def raw(self, client: Client) -> tuple[Connection, Frame]:
        """Makes a handshake up to the server's frame 0."""
        return await client.shake_hands(Socket(await client.dial()))

    async def closed(self, connection: Connection) -> int:
        """Returns the code of the server's CLOSE."""
        while (frame := await asyncio.wait_for(connection.hear(), 2)).kind != Kind.CLOSE:
            pass
        return frame.id

    async def test_a_removed_link_ends_with_its_session(self) -> None:
        link = self.server.add(self.invitation, self.keep)
        client = self.join()
        client.link.send("1")
        await eventually(lambda: self.received == ["1"], "it is served")
        asked = asyncio.create_task(link.calls.request("never answered"))
        client.link.calls.answers = None
        await asyncio.sleep(0)
        self.server.remove("client")
        client.link.send("2")
        with self.assertRaises(LinkRemoved):
            await asyncio.wait_for(asked, 1)
        # From then on it is a stranger.
        await eventually(lambda: len(client.ends) >= 3, "it is refused", 5)
        self.assertEqual(client.ends[0], End(CloseCode.REMOVED, by_peer=True))
        self.assertEqual({end.code for end in client.ends[1:]}, {None})
        self.assertEqual(self.server.ends, [End(CloseCode.REMOVED)])
        self.assertEqual(self.received, ["1"])
        self.assertRaises(ValueError, self.server.remove, "client")
        self.server.add(self.invitation, self.keep)
        await eventually(lambda: self.received == ["1", "2"], "the name is free again", 5)

    async def test_a_link_is_removed_before_ready(self) -> None:
        self.server.add(self.invitation, self.keep)
        client = self.client()
        connection, frame = await self.raw(client)
        self.assertEqual(frame.kind, Kind.READY)
        self.server.remove("client")
        self.assertEqual(await self.closed(connection), CloseCode.REMOVED)

    async def test_a_link_is_removed_while_its_slot_is_probed(self) -> None:
        self.server.add(self.invitation, self.keep)
        first, second = self.client(), self.client()
        connection, _ = await self.raw(first)
        await connection.say(Frame(Kind.READY, payload=first.link.ready().encode()))
        slot = self.server.slots[0]
        await eventually(lambda: slot.connection is not None, "it connects")
        probed = asyncio.create_task(self.raw(second))
        await eventually(lambda: len(slot.recent) == 2, "the second one comes")
        self.server.remove("client")
        other, frame = await asyncio.wait_for(probed, 2)
        self.assertEqual((frame.kind, frame.id), (Kind.CLOSE, CloseCode.REMOVED))
        other.cut()
        self.assertEqual(await self.closed(connection), CloseCode.REMOVED)

    async def test_a_link_is_removed_while_its_keys_are_stored(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = SlowFile(Path(folder) / "server.json")
            self.server.add(self.invitation, self.keep, store)
            client = self.join()
            await asyncio.wait_for(store.saving.wait(), 2)
            self.server.remove("client")
            store.go.set()
            await eventually(lambda: len(client.ends) * len(self.server.ends) > 0, "both are told", 5)
        self.assertEqual(client.ends[0], End(CloseCode.REMOVED, by_peer=True))
        self.assertEqual(self.server.ends, [End(CloseCode.REMOVED)])

    async def test_a_session_is_replaced_before_it_has_begun(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = SlowFile(Path(folder) / "server.json")
            link = self.server.add(self.invitation, self.keep, store)
            client = self.client()
            connections = []
            for _ in range(2):
                connection, _ = await self.raw(client)
                ready = client.link.ready().encode()
                await connection.say(Frame(Kind.READY, payload=ready))
                connections.append(connection)
                await asyncio.wait_for(store.saving.wait(), 2)
            slot = self.server.slots[0]
            first = slot.connection
            await eventually(lambda: slot.connection is not first, "it is replaced")
            store.go.set()
            self.assertEqual(await self.closed(connections[0]), CloseCode.REPLACED)
            await eventually(lambda: link.attached is not None, "the second one begins")
            assert slot.connection is not None
            self.assertIs(link.attached, slot.connection.conversation)

    async def test_each_side_ends_a_session_that_is_too_old(self) -> None:
        for server, client, by_peer in ((0.2, 60.0, True), (60.0, 0.2, False)):
            with self.subTest(by_peer=by_peer):
                await self.asyncTearDown()
                await self.serve(replace(QUICK, session_age=server, ping_after=0.05))
                self.server.add(self.invitation, self.keep)
                joined = self.join(replace(QUICK, session_age=client, ping_after=0.05))
                await eventually(lambda: len(joined.ends) >= 2, "sessions end", 5)
                self.assertEqual(joined.ends[0], End(CloseCode.AGE, by_peer=by_peer))

    async def test_clients_do_not_all_end_their_sessions_at_once(self) -> None:
        self.server.add(self.invitation, self.keep)
        ages = []
        for _ in range(10):
            connection, _ = await self.raw(self.client(Limits(session_age=1000.0)))
            ages.append(connection._oldest)
            connection.cut()
        self.assertTrue(all(900.0 <= age <= 1100.0 for age in ages), ages)
        self.assertGreater(len(set(ages)), 1)


if __name__ == "__main__":
    unittest.main()
