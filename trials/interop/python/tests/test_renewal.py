"""Violations of §5.5, and when keys are renewed."""

import asyncio
import unittest
from dataclasses import replace

from paddington.conversation import Conversation
from paddington.frames import UNDERSTANDS_RENEW, Frame, Kind, Violation
from paddington.generations import DAY
from paddington.link import Limits, Link
from paddington.renewal import Renewal
from paddington.session import RenewalSecrets

from .test_crashes import INVITATION, SIDES, World, numbers
from .test_generations import made


class Rules(unittest.IsolatedAsyncioTestCase):
    """Violations of §5.5, and when nothing is renewed."""

    def renewal(self, side: str, **settings: float) -> tuple[Renewal, list[Frame]]:
        """One side of a session with the keys of the invitation."""
        said: list[Frame] = []
        world = World()
        secrets = RenewalSecrets(bytes(64), bytes([1]) * 64)
        return Renewal(world.rings[side], 0, secrets, said.append, **settings), said

    @staticmethod
    async def settle() -> None:
        """Lets tasks run."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def test_violations_of_a_server(self) -> None:
        renew = Frame(Kind.RENEW, id=1)
        for why, frames in {
            "while another is not answered": [renew, Frame(Kind.RENEW, id=2)],
            "RENEWED": [Frame(Kind.RENEWED, id=1)],
        }.items():
            with self.subTest(why=why):
                client, said = self.renewal("client")
                for frame in frames[:-1]:
                    client.handle(frame)
                self.assertRaises(Violation, client.handle, frames[-1])
                self.assertEqual(said, [])
        client, said = self.renewal("client")
        client.handle(renew)
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEWED, id=1)])

    async def test_a_server_asks_before_it_replaces_keys_that_wait(self) -> None:
        server, said = self.renewal("server")
        keyring = server.keyring
        keyring.ring = keyring.ring.after_use(0).agreed(0, made(1, False))
        server.consider()
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEW)])
        self.assertEqual(numbers(keyring.ring), [0, 1])
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED, id=1))
        server.handle(Frame(Kind.RENEWED))
        await self.settle()
        self.assertEqual(numbers(keyring.ring), [0, 2])
        self.assertEqual([frame.id for frame in said], [0, 2])

    async def test_a_client_that_is_asked_removes_the_keys_that_it_has_fallen_back_from(self) -> None:
        client, said = self.renewal("client")
        client.handle(Frame(Kind.RENEW))
        self.assertEqual(said, [Frame(Kind.RENEWED)])
        keyring = client.keyring
        first = replace(keyring.ring.generations[0], handed_over=False, used=True)
        keyring.ring = replace(keyring.ring, generations=(first,)).taken(0, made(1, False))
        async with keyring.lock:
            client.handle(Frame(Kind.RENEW))
            await self.settle()
            self.assertEqual(said[1:], [], "before that is stored")
            self.assertRaises(Violation, client.handle, Frame(Kind.RENEW))
        await self.settle()
        self.assertEqual(numbers(keyring.ring), [0])
        self.assertEqual(said[1:], [Frame(Kind.RENEWED)])

    async def test_there_is_one_renewal_in_a_session(self) -> None:
        server, said = self.renewal("server")
        server.consider()
        await self.settle()
        server.handle(Frame(Kind.RENEWED, id=1))
        await self.settle()
        server.request()
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEW, id=1)])

    async def test_a_generation_that_is_lower_than_the_sessions(self) -> None:
        client, _ = self.renewal("client")
        client.base = 5
        for number in (0, 4):
            self.assertRaises(Violation, client.handle, Frame(Kind.RENEW, id=number))
        client.handle(Frame(Kind.RENEW, id=6))

    async def test_a_generation_with_too_high_a_number(self) -> None:
        client, _ = self.renewal("client")
        self.assertRaises(Violation, client.handle, Frame(Kind.RENEW, id=1 << 63))
        client.handle(Frame(Kind.RENEW, id=(1 << 63) - 1))
        server, _ = self.renewal("server")
        server.keyring.ring = server.keyring.ring.after_use(0).agreed(0, made(1, False))
        server.consider()
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED, id=1 << 63))
        server.handle(Frame(Kind.RENEWED))

    async def test_violations_of_a_client(self) -> None:
        server, said = self.renewal("server")
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEW, id=1))
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED, id=1))
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED))
        server.consider()
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEW, id=1)])
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED, id=2))
        server.handle(Frame(Kind.RENEWED, id=1))
        self.assertRaises(Violation, server.handle, Frame(Kind.RENEWED, id=1))

    async def test_without_the_bit_both_kinds_are_violations(self) -> None:
        async def ignore(_: Link, _text: str) -> None:
            pass

        link = Link("client", INVITATION.keys(), bytes([1]) * 16, ignore, Limits())
        other = Link("server", INVITATION.keys(), bytes([2]) * 16, ignore, Limits())
        self.assertFalse(link.ready().features & UNDERSTANDS_RENEW)
        link.keyring = World().rings["server"]
        self.assertTrue(link.ready().features & UNDERSTANDS_RENEW)
        conversation = Conversation(link, link.ready(), other.ready(), lambda: None)
        conversation.begin()
        for frame in (Frame(Kind.RENEW), Frame(Kind.RENEW, id=1), Frame(Kind.RENEWED, id=1)):
            self.assertRaises(Violation, conversation.handle, frame)
        link.close()
        other.close()

    async def test_a_client_that_asks_too_often_is_answered_by_nothing(self) -> None:
        server, said = self.renewal("server")
        server.consider()
        await self.settle()
        server.handle(Frame(Kind.RENEW))
        server.handle(Frame(Kind.RENEWED, id=1))
        await self.settle()
        self.assertEqual([frame.id for frame in said], [1])
        for _ in range(10):
            server.handle(Frame(Kind.RENEW))
            await self.settle()
        self.assertEqual([frame.id for frame in said], [1])

    async def test_nothing_is_renewed_after_drain_or_the_end(self) -> None:
        for end in ("draining", "over"):
            for side in SIDES:
                renewal, said = self.renewal(side)
                setattr(renewal, end, True)
                renewal.request()
                renewal.consider()
                await self.settle()
                self.assertEqual(said, [])

    async def test_nothing_of_a_session_that_has_ended_is_stored(self) -> None:
        for side in SIDES:
            renewal, said = self.renewal(side)
            async with renewal.keyring.lock:
                renewal.consider()
                if side == "client":
                    renewal.handle(Frame(Kind.RENEW, id=1))
                await self.settle()
                renewal.end()
            await self.settle()
            self.assertEqual(numbers(renewal.keyring.ring), [0])
            self.assertEqual(said, [])

    async def test_nothing_is_renewed_while_an_invitation_waits(self) -> None:
        server, said = self.renewal("server")
        keyring = server.keyring
        keyring.ring = keyring.ring.after_use(0).invited(made(1, True), keyring.clock())
        server.request()
        await self.settle()
        self.assertEqual(said, [])
        self.assertFalse(server.wanted)

    async def test_keys_are_renewed_when_they_are_old(self) -> None:
        server, said = self.renewal("server")
        keyring = server.keyring
        first = replace(keyring.ring.generations[0], handed_over=False, used=True)
        keyring.ring = replace(keyring.ring, generations=(first,))
        server.consider()
        await self.settle()
        self.assertEqual(said, [])
        began = first.made
        keyring.clock = lambda: began + 30 * DAY
        server.consider()
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEW, id=1)])

    async def test_a_client_stores_once_a_second(self) -> None:
        client, said = self.renewal("client", store_every=3600.0)
        client.handle(Frame(Kind.RENEW, id=1))
        await self.settle()
        client.handle(Frame(Kind.RENEW, id=2))
        await self.settle()
        self.assertEqual(said, [Frame(Kind.RENEWED, id=1)])
        for task in client._tasks:
            task.cancel()


if __name__ == "__main__":
    unittest.main()
