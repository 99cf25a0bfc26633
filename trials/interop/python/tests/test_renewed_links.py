"""Links between a client and a server of this implementation, on real sockets and with files: the
invitation that burns, and keys that are renewed, replaced, expired or put back."""

import asyncio
import stat
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from paddington.client import Client
from paddington.connection import End
from paddington.conversation import Conversation
from paddington.generations import DAY, Ring
from paddington.invitation import Invitation
from paddington.keyring import KeyFile
from paddington.link import Limits, Link
from paddington.renewal import Renewal
from paddington.server import Server
from processes import HOST, eventually

QUICK = Limits(
    ping_after=0.1,
    retry_fast=0.01,
    retries=(0.01,),
    retry_busy=0.05,
    ask_every=0.0,
    store_every=0.0,
    handshakes=1000,
)


async def ignore(_: Link, _text: str) -> None:
    """A handler that does nothing."""


def renewal_of(link: Link) -> Renewal:
    """The renewals of the present session."""
    assert isinstance(link.attached, Conversation) and link.attached.renewal is not None
    return link.attached.renewal


def is_renewable(link: Link) -> bool:
    """Returns whether there is a session in which keys can be renewed."""
    return isinstance(link.attached, Conversation) and link.attached.renewal is not None


class Files(unittest.TestCase):
    """The file in which the keys of a link are kept."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "link.json"
        invitation = Invitation.draw("server", "ws://host:1/", "client")
        self.ring = Ring.begin(invitation, True, 0.0)

    def test_it_is_replaced_as_a_whole_and_only_its_owner_reads_it(self) -> None:
        file = KeyFile(self.path)
        self.assertIsNone(file.load())
        for ring in (self.ring, replace(self.ring, highest=7)):
            file.replace(ring)
            self.assertEqual(file.load(), ring)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["link.json"])

    def test_a_failure_leaves_the_file_and_no_draft(self) -> None:
        file = KeyFile(self.path)
        file.replace(self.ring)
        broken = replace(self.ring, highest=object())  # type: ignore[arg-type]
        self.assertRaises(TypeError, file.replace, broken)
        self.assertEqual(file.load(), self.ring)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["link.json"])

    def test_a_symbolic_link_is_not_read(self) -> None:
        KeyFile(self.path).replace(self.ring)
        other = self.path.with_name("other.json")
        other.symlink_to(self.path)
        self.assertRaises(OSError, KeyFile(other).load)

    def test_others_who_can_read_it_are_a_warning(self) -> None:
        KeyFile(self.path).replace(self.ring)
        self.path.chmod(0o640)
        with self.assertLogs("paddington", "WARNING"):
            KeyFile(self.path).load()


class Links(unittest.IsolatedAsyncioTestCase):
    """A server, and clients with its invitations."""

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clients: list[tuple[Client, asyncio.Task[None]]] = []
        self.received: list[str] = []
        await self.serve()
        self.invitation = Invitation.draw("server", self.url, "client")

    async def asyncTearDown(self) -> None:
        for client, _ in list(self.clients):
            await self.leave(client)
        await self.server.close()

    async def serve(self) -> None:
        """Starts the server."""
        self.server = Server("server", QUICK)
        self.url = f"ws://{HOST}:{await self.server.listen(HOST)}/"

    async def restart(self) -> None:
        """Starts the server anew, with the file of the link."""
        await self.server.close()
        await self.serve()
        self.invitation = replace(self.invitation, url=self.url)
        self.admit()

    def admit(self, stores: bool = True) -> Link:
        """Admits the client."""
        store = KeyFile(self.folder / "server.json") if stores else None
        return self.server.add(self.invitation, self.keep, store)

    async def keep(self, _: Link, text: str) -> None:
        """The server's handler."""
        self.received.append(text)

    def join(self, invitation: Invitation | None = None, file: str | None = "client.json") -> Client:
        """Starts a client, which keeps its keys in a file, or keeps none."""
        invitation = replace(invitation or self.invitation, url=self.url)
        store = KeyFile(self.folder / file) if file else None
        client = Client(invitation, ignore, QUICK, store)
        self.clients.append((client, asyncio.create_task(client.run())))
        return client

    async def leave(self, client: Client) -> None:
        """Ends a client as a crash would."""
        found = next(entry for entry in self.clients if entry[0] is client)
        self.clients.remove(found)
        found[1].cancel()
        await asyncio.gather(found[1], return_exceptions=True)
        if client.connection:
            client.connection.cut()
        slot = self.server.slots[0]
        await eventually(lambda: slot.connection is None, "the server notices")

    def numbers(self) -> list[list[int]]:
        """The generations in both files."""
        files = [KeyFile(self.folder / f"{side}.json").load() for side in ("server", "client")]
        return [[g.number for g in ring.generations] if ring else [] for ring in files]

    async def holds(self, *numbers: list[int]) -> None:
        """Waits until both files hold these."""
        await eventually(lambda: self.numbers() == list(numbers), f"{numbers}", 5)

    async def joined(self) -> Client:
        """A client whose invitation is burned."""
        client = self.join()
        await self.holds([1], [1])
        return client

    async def again(self, client: Client) -> Client:
        """The client in its next session: there is one renewal in each."""
        await self.leave(client)
        client = self.join()
        links = client.link, self.server.slots[0].link
        await eventually(lambda: all(is_renewable(link) for link in links), "it comes back")
        return client

    async def refused(self, client: Client, times: int = 2) -> None:
        """Waits until the client has been refused so often."""
        await eventually(lambda: len(client.ends) >= times, "it is refused", 5)
        self.assertEqual({end.code for end in client.ends}, {None})
        self.assertIsNone(client.connection)

    async def test_the_invitation_is_burned_at_first_contact(self) -> None:
        self.admit()
        client = await self.joined()
        self.assertEqual(client.ends, [])
        client.link.send("still the same session")
        await eventually(lambda: len(self.received) == 1, "the session goes on")
        await self.leave(client)
        with self.assertLogs("paddington", "ERROR"):
            thief = self.join(file=None)
            await self.refused(thief)
        self.assertEqual(self.server.alarms[0].client, "client")
        self.assertEqual(self.server.alarms[0].address, HOST)
        await self.leave(thief)
        alarms = len(self.server.alarms)
        again = self.join()
        await eventually(lambda: again.connection is not None, "the new keys are used")
        self.assertEqual(again.ends, [])
        self.assertEqual(len(self.server.alarms), alarms)

    async def test_a_stranger_is_no_alarm(self) -> None:
        self.admit()
        await self.joined()
        stranger = self.join(Invitation.draw("server", self.url, "client"), file=None)
        await self.refused(stranger)
        self.assertEqual(self.server.alarms, [])

    async def test_either_side_asks_for_new_keys(self) -> None:
        link = self.admit()
        client = await self.joined()
        for asks, number in (("server", 2), ("client", 3)):
            client = await self.again(client)
            renewal_of(link if asks == "server" else client.link).request()
            # What was agreed on before is certain for both, and is kept until the new keys are used.
            await self.holds([number - 1, number], [number - 1, number])
            await eventually(lambda: renewal_of(link).unanswered is None, "the server is told")
            client.link.send(str(number))
            await eventually(lambda: str(number) in self.received, "messages pass")
            self.assertEqual(client.ends, [])
        await self.leave(client)
        client = self.join()
        await self.holds([3], [3])
        await self.leave(client)
        await self.restart()
        self.join()
        await eventually(lambda: self.server.slots[0].connection is not None, "it connects")
        self.assertEqual(self.numbers(), [[3], [3]])

    async def test_keys_are_renewed_by_age(self) -> None:
        link = self.admit()
        client = await self.joined()
        assert link.keyring is not None
        now = link.keyring.clock()
        await self.again(client)
        link.keyring.clock = lambda: now + 30 * DAY + 60
        await self.holds([1, 2], [1, 2])

    async def test_a_client_falls_back_to_older_keys(self) -> None:
        self.admit()
        client = await self.joined()
        await self.leave(client)
        # The client has keys that the server does not know, as if the server's list were put back.
        file = KeyFile(self.folder / "client.json")
        ring = file.load()
        assert ring is not None
        newer = replace(ring.generations[0], number=2, outer_key=bytes([2]) * 32)
        newest = replace(newer, number=3, outer_key=bytes([3]) * 32)
        file.replace(replace(ring, generations=(*ring.generations, newer, newest), highest=3))
        client = self.join()
        await eventually(lambda: client.connection is not None, "it falls back")
        self.assertEqual(client.ends, 4 * [End(None)], "twice with each")
        self.assertEqual(self.server.alarms, [])
        await eventually(lambda: client.link.attached is not None, "it is established")
        renewal_of(client.link).request()
        await self.holds([1, 2], [1, 2])

    async def test_the_servers_list_is_put_back_by_one(self) -> None:
        link = self.admit()
        client = await self.joined()
        older = KeyFile(self.folder / "server.json").load()
        assert older is not None
        client = await self.again(client)
        renewal_of(link).request()
        await self.holds([1, 2], [1, 2])
        await self.leave(client)
        KeyFile(self.folder / "server.json").replace(older)
        await self.restart()
        client = self.join()
        await eventually(lambda: client.connection is not None, "it falls back")
        self.assertEqual(client.ends, 2 * [End(None)])

    async def test_a_peer_that_stores_nothing_is_served_as_before(self) -> None:
        self.admit()
        client = self.join(file=None)
        client.link.send("1")
        await eventually(lambda: self.received == ["1"], "it is served")
        await self.leave(client)
        client = self.join(file=None)
        client.link.send("2")
        await eventually(lambda: self.received == ["1", "2"], "it is served again")
        self.assertEqual(self.numbers(), [[0], []])
        # It has been used, so it does not expire.
        link = self.server.slots[0].link
        assert link.keyring is not None
        now = link.keyring.clock()
        link.keyring.clock = lambda: now + 8 * DAY
        await self.leave(client)
        client = self.join(file=None)
        client.link.send("3")
        await eventually(lambda: self.received == ["1", "2", "3"], "it is served after a week")

    async def test_a_server_that_stores_nothing_keeps_the_invitation(self) -> None:
        self.admit(stores=False)
        for _ in range(2):
            client = self.join()
            client.link.send("1")
            await eventually(lambda: client.link.base == 2, "it is served")
            await self.holds([], [0])
            await self.leave(client)

    async def test_an_invitation_expires_by_the_servers_clock(self) -> None:
        link = self.admit()
        assert link.keyring is not None
        now = link.keyring.clock()
        link.keyring.clock = lambda: now + 7 * DAY + 1
        with self.assertLogs("paddington", "ERROR"):
            await self.refused(self.join())
        self.assertEqual(self.server.alarms[0].client, "client")

    async def test_a_restart_makes_an_invitation_no_younger(self) -> None:
        self.admit()
        before = KeyFile(self.folder / "server.json").load()
        await self.restart()
        self.assertEqual(KeyFile(self.folder / "server.json").load(), before)

    async def test_a_new_invitation_replaces_the_keys_of_a_known_client(self) -> None:
        self.admit()
        client = await self.joined()
        new = await self.server.invite_again("client")
        self.assertEqual(new.link, self.invitation.keys().identity())
        self.assertEqual(new.generation, 2)
        self.assertRegex(new.expires or "", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        await self.leave(client)
        # The old keys work until the new ones are used.
        client = self.join()
        await eventually(lambda: client.connection is not None, "the old keys work")
        self.assertEqual(self.numbers()[0], [1, 2])
        await self.leave(client)
        path = self.folder / "new.toml"
        new.write(path)
        client = self.join(Invitation.read(path))
        await self.holds([3], [3])
        self.assertEqual(client.link.keyring.ring.link if client.link.keyring else None, new.link)
        # At its next start it finds the same invitation, which is no news.
        await self.leave(client)
        self.join(Invitation.read(path))
        await eventually(lambda: self.server.slots[0].connection is not None, "it connects")
        self.assertEqual(self.server.alarms, [])

    async def test_replaced_keys_end_after_a_day(self) -> None:
        link = self.admit()
        client = await self.joined()
        await self.server.invite_again("client", valid=None)
        await self.leave(client)
        assert link.keyring is not None
        now = link.keyring.clock()
        link.keyring.clock = lambda: now + DAY + 1
        with self.assertLogs("paddington", "ERROR"):
            await self.refused(self.join())

    async def test_a_newer_session_takes_the_keys_over(self) -> None:
        link = self.admit()
        client = await self.joined()
        old = self.server.slots[0].connection
        assert old is not None and old.conversation is not None
        # The same process dials again, and the server has not noticed that the first one is lost.
        self.clients[0][1].cancel()
        await asyncio.gather(self.clients[0][1], return_exceptions=True)
        self.clients.clear()
        second = Client(self.invitation, ignore, QUICK, KeyFile(self.folder / "client.json"))
        second.instance = client.instance
        second.link.instance = client.instance
        second.link.calls.instance = client.instance
        second._url = self.url
        self.clients.append((second, asyncio.create_task(second.run())))
        await eventually(lambda: self.server.slots[0].connection not in (None, old), "taken over")
        renewal = old.conversation.renewal
        assert renewal is not None
        self.assertTrue(renewal.over)
        renewal.request()
        lost = old.conversation
        await eventually(lambda: link.attached not in (None, lost), "it is established")
        self.assertEqual(self.numbers(), [[1], [1]])
        renewal_of(link).request()
        await self.holds([1, 2], [1, 2])

    async def test_doubled_keys_and_names_are_refused(self) -> None:
        self.admit()
        same = replace(self.invitation, client="other")
        for other in (
            same,
            replace(same, inner_key=bytes([1]) * 32),
            replace(same, inner_key=same.outer_key, outer_key=bytes([1]) * 32),
            Invitation.draw("server", self.url, "client"),
        ):
            for store in (None, KeyFile(self.folder / "other.json")):
                self.assertRaises(ValueError, self.server.add, other, ignore, store)
        self.assertEqual(len(self.server.slots), 1)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["server.json"])
        await self.joined()
        # Also keys that were agreed on.
        ring = KeyFile(self.folder / "server.json").load()
        assert ring is not None
        kept = ring.generations[0]
        stolen = Invitation("server", self.url, "other", kept.inner_key, kept.outer_key)
        self.assertRaises(ValueError, self.server.add, stolen, ignore)


if __name__ == "__main__":
    unittest.main()
