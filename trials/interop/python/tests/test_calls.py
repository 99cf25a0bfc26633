"""Requests between two sides in one process, without sockets."""

import asyncio
import unittest

from paddington.calls import Failure, FailureCode, Item, PeerChanged, What, encode_calls
from paddington.frames import Frame, Kind, Violation

from tests import test_conversation
from tests.test_conversation import Limits, Side


class Calls(test_conversation.Conversations):
    """Requests over the sessions of the same two services."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.seen: list[str | bytes] = []
        self.go = asyncio.Event()

        async def answers(request: str | bytes) -> str | bytes | None:
            self.seen.append(request)
            await self.go.wait()
            if request == "nested":
                return await self.b.link.calls.request("back")
            if request == "bad":
                raise ValueError("the handler fails")
            return None if request == "none" else request

        async def back(request: str | bytes) -> str | bytes | None:
            return f"{request!s} again"

        self.b.link.calls.answers, self.a.link.calls.answers = answers, back

    async def ask(self, body: str | bytes) -> asyncio.Task[str | bytes]:
        """Makes a request and waits until the other side has it."""
        task = asyncio.create_task(self.a.link.calls.request(body))
        await asyncio.sleep(0)
        return task

    async def test_what_a_lost_session_has_lost_comes_again(self) -> None:
        tasks = [await self.ask(str(n)) for n in range(10)]
        self.go.set()
        for frames in (0, 1, 2, 3, 1000):
            self.connect()
            await self.exchange(frames)
        self.assertEqual(await asyncio.gather(*tasks), [str(n) for n in range(10)])
        self.assertEqual(self.seen, [str(n) for n in range(10)])
        self.assertFalse(self.b.link.calls.answering)

    async def test_every_end_is_told(self) -> None:
        self.connect()
        tasks = [await self.ask(body) for body in ("nested", "bad", "none", b"\xff")]
        self.go.set()
        for _ in range(3):
            await self.exchange()
        nested, bad, none, data = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertEqual((nested, data), ("back again", b"\xff"))
        assert isinstance(bad, Failure) and isinstance(none, Failure)
        self.assertEqual((bad.code, none.code), (FailureCode.FAILED, FailureCode.NO_ANSWER))

    async def test_a_cancelled_request_is_answered_all_the_same(self) -> None:
        self.connect()
        task = await self.ask("x")
        await self.exchange()
        task.cancel()
        await asyncio.sleep(0)
        await self.exchange()
        self.assertEqual((self.a.link.calls.late, self.a.link.calls.asked), (1, {}))
        self.assertFalse(self.b.link.calls.answering)

    async def test_another_process_of_the_peer(self) -> None:
        self.connect()
        task = await self.ask("x")
        await self.exchange()
        self.b.link.close()
        self.b = Side(3, Limits(max_payload=100, window=300))
        self.connect()
        with self.assertRaises(PeerChanged):
            await task

    async def test_violations(self) -> None:
        reply = Item(What.REPLY, 7)
        request = Item(What.REQUEST, 1)
        cases = {
            "a gap": (2, 0, [request]),
            "an answer of nothing": (1, 0, [reply]),
            "an ack of nothing": (1, 1, [request]),
            "no number": (0, 0, [request]),
            "one number twice": (1, 0, [request, request]),
        }
        for why, (first, received, items) in cases.items():
            with self.subTest(why=why):
                self.b.link.close()
                self.b = Side(2, Limits(max_payload=100, window=300))
                self.b.link.calls.answers = self.a.link.calls.answers
                self.connect()
                frame = Frame(Kind.CALLS, id=first, payload=encode_calls(received, items))
                self.assertRaises(Violation, self.b.conversation.handle, frame)


if __name__ == "__main__":
    unittest.main()
