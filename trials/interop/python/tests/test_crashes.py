"""Renewals of keys (§5.5) without sockets and without a disk: what a crash, a cut or a takeover at any
step leaves behind."""

import asyncio
import unittest
from collections.abc import Callable
from dataclasses import replace

from paddington.frames import Frame
from paddington.generations import Generation, Ring
from paddington.invitation import Invitation
from paddington.keyring import Keyring
from paddington.keys import digest
from paddington.renewal import Renewal
from paddington.session import RenewalSecrets

INVITATION = Invitation("server", "ws://host:1/", "client", bytes([1]) * 32, bytes([2]) * 32)
SIDES = ("server", "client")


def numbers(ring: Ring) -> list[int]:
    """The generations of a list."""
    return [g.number for g in ring.generations]


def pairs(ring: Ring) -> set[bytes]:
    """The keys of a list."""
    return {g.inner_key + g.outer_key for g in ring.generations}


class Stopped(Exception):
    """The connection is cut, or a side has crashed."""


class World:
    """Two services, their disks, and what goes wrong at which step."""

    def __init__(self, plan: dict[int, str] | None = None) -> None:
        self.plan, self.steps = plan or {}, 0
        # The steps at which somebody asks in a session that only the server believes in.
        self.zombie_asks: set[int] = set()
        self.zombie: Renewal | None = None
        self.now = 1_000_000.0
        self.disks = {side: Ring.begin(INVITATION, side == "server", self.now) for side in SIDES}
        self.first = self.disks["server"]
        self.rings: dict[str, Keyring] = {}
        self.renewals: dict[str, Renewal] = {}
        self.frames: list[tuple[str, Frame]] = []
        self.stopped = asyncio.Event()
        self.crashed: str | None = None
        self.alarms = self.sessions = self.hung_up = 0
        self.log: list[str] = []
        for side in SIDES:
            self.start(side)

    def start(self, side: str) -> None:
        """Starts a side from its disk."""
        if before := self.rings.get(side):
            assert isinstance(before.store, Disk)
            before.store.is_dead = True
        self.rings[side] = Keyring(Disk(self, side), self.disks[side], lambda: self.now)
        if side == "client":
            self.hung_up = 0
        elif self.zombie is not None:
            self.zombie.end()
            self.zombie = None

    async def step(self, side: str, what: str) -> None:
        """A moment at which something may go wrong."""
        self.steps += 1
        self.log.append(f"{self.steps} {side} {what}")
        if self.zombie is not None and self.steps in self.zombie_asks:
            self.log.append("the zombie asks")
            self.zombie.request()
        wrong = self.plan.get(self.steps)
        if wrong and not self.stopped.is_set():
            self.log.append(f"-- {wrong}")
            self.crashed = wrong if wrong in SIDES else None
            self.stopped.set()
        if self.crashed == side and self.stopped.is_set():
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    async def attempt(self) -> tuple[int, RenewalSecrets, RenewalSecrets] | None:
        """One attempt of the client. Returns the generation and the secrets, if it was not hung up on."""
        client, server = self.rings["client"], self.rings["server"]
        async with client.lock:
            kept = client.newest_first()
            generation = kept[self.hung_up % len(kept)]
        keys = client.ring.keys(generation)
        if keys.outer in server.ring.refused(self.now):
            self.alarms += 1
        found = [g for g in server.ring.valid(self.now) if server.ring.keys(g) == keys]
        await self.step("server", "HELLO")
        if not found:
            self.hung_up += 1
            return None
        self.hung_up = 0
        await self.step("client", "READY of the server")
        await self.step("server", "READY of the client")
        if server.ring.get(generation.number) is None:
            return None
        if self.zombie is not None:
            self.zombie.end()
            self.zombie = None
        if not await self.use(server, generation.number):
            return None
        await self.step("client", "the first frame behind READY")
        await self.use(client, generation.number)
        self.sessions += 1
        xi, xo = (digest(keys.inner + bytes([layer, self.sessions])) for layer in (1, 2))
        return generation.number, RenewalSecrets(xi, xo), RenewalSecrets(xi, xo)

    @staticmethod
    async def use(keyring: Keyring, number: int) -> bool:
        """Notes that a generation is used, and goes on with that if the connection is cut."""
        return await asyncio.shield(asyncio.ensure_future(keyring.use(number)))

    async def session(self, requests: int) -> None:
        """Connects, and lets frames pass until there are none; then one side asks, and again."""
        for _ in range(6):
            if begun := await self.attempt():
                break
        else:
            raise AssertionError("the client is locked out")
        number, *secrets = begun
        self.frames.clear()
        for side, secret in zip(SIDES, secrets, strict=True):
            self.renewals[side] = Renewal(
                self.rings[side], number, secret, self.sender(side), store_every=0.0, ask_every=0.0
            )
        self.renewals["server"].consider()
        await self.pump()
        for request in range(requests):
            self.renewals[SIDES[request % 2]].request()
            await self.pump()

    def sender(self, side: str) -> Callable[[Frame], None]:
        """Returns the way of a side's frames."""
        session = self.sessions

        def say(frame: Frame) -> None:
            if session == self.sessions:
                self.frames.append((side, frame))

        return say

    async def pump(self) -> None:
        """Lets frames pass until both sides are quiet."""
        quiet = 0
        while quiet < 12:
            quiet += 1
            await asyncio.sleep(0)
            while self.frames:
                side, frame = self.frames.pop(0)
                other = SIDES[side == "server"]
                await self.step(side, f"sends {frame.kind.name} {frame.id}")
                self.renewals[other].handle(frame)
                await self.step(other, f"has {frame.kind.name} {frame.id}")
                quiet = 0

    async def run(self, requests: int = 0) -> None:
        """Runs a session until it is quiet, or until something goes wrong."""
        running = asyncio.ensure_future(self.session(requests))
        stopped = asyncio.ensure_future(self.stopped.wait())
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if "client" in self.renewals:
            self.renewals["client"].end()
        if server := self.renewals.get("server"):
            if self.stopped.is_set() and self.crashed != "server" and self.zombie_asks:
                self.zombie = server
            else:
                server.end()
        if not self.stopped.is_set():
            running.result()
        running.cancel()
        stopped.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
        for side in SIDES:
            if side == self.crashed:
                self.start(side)
            else:
                async with self.rings[side].lock:
                    pass
        self.renewals.clear()
        self.frames.clear()
        self.stopped.clear()
        self.crashed = None


class Disk:
    """The disk of one side."""

    def __init__(self, world: World, side: str) -> None:
        self._world, self._side = world, side
        # Its process has crashed.
        self.is_dead = False

    def load(self) -> Ring | None:
        """What is on it."""
        return self._world.disks[self._side]

    def replace(self, ring: Ring) -> None:
        """Not needed: the disk begins with the invitation."""

    async def save(self, ring: Ring) -> None:
        """Stores, with a moment before and one after."""
        await self._world.step(self._side, f"stores {numbers(ring)}")
        if self.is_dead:
            raise asyncio.CancelledError
        self._world.disks[self._side] = ring
        await self._world.step(self._side, f"has stored {numbers(ring)}")


class Crashes(unittest.IsolatedAsyncioTestCase):
    """Whatever goes wrong, there are keys that both have, and no honest client is an alarm."""

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)

    def check(self, world: World) -> None:
        """What holds at every moment."""
        common = pairs(world.disks["server"]) & pairs(world.disks["client"])
        self.assertTrue(common, "\n".join(world.log))
        self.assertEqual(world.alarms, 0, "\n".join(world.log))
        for ring in world.disks.values():
            self.assertLessEqual(len(ring.generations), 3)

    async def settle(self, world: World) -> None:
        """Runs a session in which nothing goes wrong; the invitation opens nothing after it."""
        world.zombie_asks, world.plan = set(), {}
        await world.run()
        self.check(world)
        self.assertFalse(any(g.handed_over for r in world.disks.values() for g in r.generations))
        self.assertEqual(len(world.disks["client"].burned), 0)
        self.assertFalse(world.disks["server"].all_keys() & world.first.all_keys())

    async def test_a_session_without_faults(self) -> None:
        world = World()
        for _ in range(5):
            await world.run(requests=4)
        await self.settle(world)
        for ring in world.disks.values():
            self.assertEqual(numbers(ring), [5])
        self.assertGreater(world.steps, 40)

    async def test_one_fault_at_every_step(self) -> None:
        for wrong in ("server", "client", "cut"):
            step = 0
            while True:
                step += 1
                world = World({step: wrong})
                await world.run(requests=3)
                if step > world.steps:
                    break
                self.check(world)
                await world.run(requests=1)
                self.check(world)
                await self.settle(world)

    async def test_two_faults_at_every_two_steps(self) -> None:
        for first in ("server", "client", "cut"):
            for second in ("server", "client", "cut"):
                for step in range(1, 30):
                    for later in range(step + 1, step + 24, 7):
                        world = World({step: first, later: second})
                        await world.run(requests=2)
                        await world.run(requests=1)
                        self.check(world)
                        await self.settle(world)

    async def test_a_session_that_only_the_server_believes_in_takes_no_keys(self) -> None:
        # The client is gone, or cut off, and comes again; the server has not noticed, and somebody
        # asks for new keys in the old session. Something goes wrong with the new one, too.
        for wrong in ("client", "cut"):
            for later in (0, "client", "cut"):
                for step in range(1, 40, 3):
                    for asks in range(step + 1, step + 16, 2):
                        world = World({step: wrong})
                        world.zombie_asks = set(range(asks, asks + 100, 5))
                        await world.run(requests=3)
                        if later:
                            world.plan = {asks + 3: str(later)}
                        await world.run(requests=1)
                        self.check(world)
                        await world.run(requests=1)
                        self.check(world)
                        await self.settle(world)

    async def test_keys_that_the_server_gives_up_in_a_handshake(self) -> None:
        # Both have agreed on 1, and the client fell back to 0 for some reason, crashed, and comes with
        # 1, when somebody asks for new keys in the session with 0: 1 is replaced.
        for asks in range(1, 12):
            for wrong in ("", "client", "cut", "server"):
                for fault in range(asks, asks + 6):
                    world = World()
                    one = Generation(1, bytes([3]) * 32, bytes([4]) * 32, made=world.now)
                    for side, ring in world.disks.items():
                        first = replace(ring.generations[0], handed_over=False, used=True)
                        world.disks[side] = replace(ring, generations=(first,)).agreed(0, one)
                        world.start(side)
                    secrets = RenewalSecrets(bytes(64), bytes([1]) * 64)
                    world.zombie = Renewal(world.rings["server"], 0, secrets, lambda _: None)
                    world.zombie_asks = {asks}
                    world.plan = {fault: wrong} if wrong else {}
                    await world.run()
                    self.check(world)
                    world.plan = {}
                    await world.run()
                    self.check(world)

    async def test_lists_that_are_put_back_by_one(self) -> None:
        for side in SIDES:
            world = World()
            await world.run()
            await world.run()
            older = world.disks[side]
            await world.run(requests=1)
            # The newest is agreed on, and not used: then the older list of either side has one that
            # is still in the other's.
            world.disks[side] = older
            world.start(side)
            before = world.sessions
            await world.run()
            self.assertEqual(world.sessions, before + 1, side)
            await self.settle(world)

    async def test_a_client_that_cannot_store_keeps_its_keys(self) -> None:
        world = World()
        real = world.rings["client"].store

        class Full(Disk):
            async def save(self, ring: Ring) -> None:
                raise OSError("the disk is full")

        world.rings["client"].store = Full(world, "client")
        with self.assertLogs("paddington", "ERROR"):
            await world.run(requests=2)
        self.assertEqual(numbers(world.disks["client"]), [0])
        self.assertEqual(numbers(world.disks["server"]), [0, 1])
        world.rings["client"].store = real
        await world.run()
        await self.settle(world)
        self.assertEqual(numbers(world.disks["server"]), [2])


if __name__ == "__main__":
    unittest.main()
