"""Requests between two sides in one process, without sockets."""

import asyncio
import unittest

from paddington.calls import (
    MAX_DEPTH,
    MAX_WAITING,
    Failure,
    FailureCode,
    Item,
    LinkRemoved,
    NotSent,
    PeerChanged,
    What,
    decode_calls,
    depth,
    encode_calls,
)
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

    async def sides(self, a: Limits, b: Limits) -> None:
        """Begins anew with other limits, and handlers that wait for nothing."""
        handlers = self.a.link.calls.answers, self.b.link.calls.answers
        await self.asyncTearDown()
        self.a, self.b = Side(1, a), Side(2, b)
        self.a.link.calls.answers, self.b.link.calls.answers = handlers
        self.go.set()

    async def code(self, body: str | bytes) -> tuple[int, str]:
        """Makes a request that fails, and returns the code and the text."""
        task = await self.ask(body)
        for _ in range(3):
            await self.exchange()
        with self.assertRaises(Failure) as failed:
            await asyncio.wait_for(task, 1)
        return failed.exception.code, failed.exception.text

    async def test_the_requester_says_how_long_an_answer_may_be(self) -> None:
        long = Limits(max_payload=100, window=300)
        await self.sides(Limits(max_payload=11, window=300), long)

        async def answers(request: str | bytes) -> str | bytes | None:
            if request == "fail":
                raise Failure(FailureCode.FAILED, "é" * 50)
            return b"x" * int(request)

        self.b.link.calls.answers = answers
        self.connect()
        self.assertEqual((await self.code("12"))[0], FailureCode.TOO_LONG)
        # CALLS has no room for more of the text than for a body, and it is cut between characters.
        self.assertEqual(await self.code("fail"), (FailureCode.FAILED, "é" * 5))
        task = await self.ask("11")
        await self.exchange()
        self.assertEqual(await task, b"x" * 11)

    async def test_a_failures_text_is_cut_between_characters(self) -> None:
        limits = Limits(max_payload=2000, window=3000)
        await self.sides(limits, limits)

        async def answers(_: str | bytes) -> str | bytes | None:
            raise Failure(FailureCode.FAILED, "x" + "é" * 1000 + "\udcff")

        self.b.link.calls.answers = answers
        self.connect()
        self.assertEqual(await self.code("1"), (FailureCode.FAILED, "x" + "é" * 511))

    async def test_a_request_is_no_longer_than_the_peer_takes(self) -> None:
        limits = Limits(max_payload=100, window=300)
        await self.sides(limits, Limits(max_payload=10, window=300))
        early = await self.ask("x" * 11)
        self.assertFalse(early.done())
        self.connect()
        late, fits = await self.ask("x" * 11), await self.ask("x" * 10)
        await self.exchange()
        for task in (early, late):
            with self.assertRaises(NotSent):
                await asyncio.wait_for(task, 1)
        self.assertEqual(await fits, "x" * 10)
        self.assertEqual(self.seen, ["x" * 10])

    async def test_only_so_many_requests_wait(self) -> None:
        tasks = [await self.ask("1") for _ in range(MAX_WAITING)]
        with self.assertRaises(NotSent):
            await self.a.link.calls.request("1")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One that comes alone may be longer than the room.
        self.a.link.calls.waiting_bytes = 10
        task = await self.ask("1" * 20)
        with self.assertRaises(NotSent):
            await self.a.link.calls.request("1")
        task.cancel()

    async def test_requests_within_requests_end_at_depth_7(self) -> None:
        depths: list[int] = []

        def nests(there: Side) -> None:
            async def answers(request: str | bytes) -> str | bytes | None:
                depths.append(depth.get() - 1)
                if request == "0":
                    return ""
                answer = await there.link.calls.request(str(int(request) - 1))
                return f"{request!s}{answer!s}"

            here = self.b if there is self.a else self.a
            here.link.calls.answers = answers

        nests(self.a)
        nests(self.b)
        self.connect()
        task = await self.ask(str(MAX_DEPTH - 1))
        for _ in range(MAX_DEPTH):
            await self.exchange()
        self.assertEqual(await task, "7654321")
        self.assertEqual(depths, list(range(MAX_DEPTH)))
        task = await self.ask(str(MAX_DEPTH))
        with self.assertLogs("paddington") as logs:
            for _ in range(MAX_DEPTH):
                await self.exchange()
        with self.assertRaises(Failure) as failed:
            await task
        self.assertEqual(failed.exception.code, FailureCode.FAILED)
        self.assertIn("NotSent", logs.output[0])

    async def test_no_room_for_a_request_or_a_reply(self) -> None:
        calls = self.b.link.calls
        calls.request_bytes = 70
        self.connect()
        first = await self.ask("1" * 20)
        self.assertEqual((await self.code("2" * 20))[0], FailureCode.NO_ROOM)
        self.go.set()
        await self.exchange()
        self.assertEqual(await first, "1" * 20)
        # Two replies that the requester does not have yet.
        calls.request_bytes, calls.reply_bytes = 1000, 70
        tasks = [await self.ask(str(n) * 30) for n in range(2)]
        while (frame := self.a.conversation.next_frame()) is not None:
            self.b.conversation.handle(frame)
        for _ in range(3):
            await asyncio.sleep(0)
        await self.exchange()
        self.assertEqual(await tasks[0], "0" * 30)
        with self.assertRaises(Failure) as failed:
            await tasks[1]
        self.assertEqual(failed.exception.code, FailureCode.NO_ROOM)

    async def test_who_shuts_down_begins_nothing(self) -> None:
        self.connect()
        begun = await self.ask("begun")
        await self.exchange()
        waits = await self.ask("waits")
        frame = self.a.conversation.next_frame()
        assert frame is not None and frame.kind == Kind.CALLS
        self.b.conversation.handle(frame)
        self.b.link.shut_down()
        late = await self.ask("late")
        frame = self.a.conversation.next_frame()
        assert frame is not None and frame.kind == Kind.CALLS
        self.b.conversation.handle(frame)
        self.go.set()
        for _ in range(3):
            await self.exchange()
        self.assertEqual(await begun, "begun")
        for task in (waits, late):
            with self.assertRaises(Failure) as failed:
                await asyncio.wait_for(task, 1)
            self.assertEqual(failed.exception.code, FailureCode.SHUTTING_DOWN)
        self.assertEqual(self.seen, ["begun"])

    async def test_who_does_not_answer_says_so(self) -> None:
        self.connect()
        # READY said otherwise, so that it is no violation.
        self.b.link.calls.answers = None
        self.assertEqual((await self.code("1"))[0], FailureCode.NOT_ANSWERED)
        self.connect()
        self.assertEqual((await self.code("1"))[0], FailureCode.NOT_ANSWERED)
        self.assertEqual(self.seen, [])

    async def test_a_body_that_is_not_the_text_it_says(self) -> None:
        self.connect()
        task = await self.ask("1")
        await self.exchange()
        self.b.link.calls.answering[1].answered = True
        self.b.link.calls.ready_items.append(Item(What.REPLY, 1, body=b"\xff"))
        await self.exchange()
        with self.assertRaises(Failure) as failed:
            await asyncio.wait_for(task, 1)
        self.assertEqual(failed.exception.code, FailureCode.NOT_TEXT)
        request = Item(What.REQUEST, 2, long=1000, body=b"\xff")
        payload = encode_calls(self.a.link.calls.tell(), [request])
        self.b.conversation.handle(Frame(Kind.CALLS, id=2, payload=payload))
        answer = self.b.conversation.next_frame()
        assert answer is not None
        _, items = decode_calls(answer.payload, 100)
        self.assertEqual([(i.what, i.short) for i in items], [(What.FAILURE, FailureCode.NOT_TEXT)])

    async def test_a_handler_that_fails_oddly_has_failed(self) -> None:
        async def answers(request: str | bytes) -> str | bytes | None:
            if request == "late":
                raise TimeoutError
            return "\udcff"

        self.b.link.calls.answers = answers
        self.connect()
        with self.assertLogs("paddington"):
            self.assertEqual((await self.code("late"))[0], FailureCode.FAILED)
            self.assertEqual((await self.code("no text"))[0], FailureCode.FAILED)

    async def test_calls_end_with_their_link(self) -> None:
        self.connect()
        sent = await self.ask("1")
        await self.exchange()
        waits = await self.ask("2")
        self.a.link.remove()
        for task in (sent, waits):
            with self.assertRaises(LinkRemoved):
                await asyncio.wait_for(task, 1)

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
