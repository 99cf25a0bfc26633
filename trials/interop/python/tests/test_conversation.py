"""Two sides in one process, without sockets, whose messages survive lost sessions."""

import asyncio
import unittest
from dataclasses import replace

from paddington.conversation import Conversation
from paddington.frames import (
    Frame,
    Kind,
    Payload,
    RejectionCode,
    Violation,
    Rejection,
    cut,
    decode_rejections,
    encode_batch,
)
from paddington.keys import LinkKeys
from paddington.link import Limits, Link, Outgoing

KEYS = LinkKeys.of("server", "client", bytes([1]) * 32, bytes([2]) * 32)


class Side:
    """One side, over several sessions."""

    def __init__(self, number: int, limits: Limits) -> None:
        self.received: list[str | bytes] = []
        self.link = Link("the other", KEYS, bytes([number]) * 16, self._handle, limits)
        self.conversation: Conversation

    async def _handle(self, _: Link, text: str) -> None:
        if text == "bad":
            raise ValueError("the handler fails")
        if text == "worse":
            b"\xff".decode()
        self.received.append(text)

    async def handle_bytes(self, _: Link, data: bytes) -> None:
        """The handler of bytes, for the tests in which this side takes them."""
        self.received.append(data)


class Conversations(unittest.IsolatedAsyncioTestCase):
    """Sessions of the same two services."""

    async def asyncSetUp(self) -> None:
        limits = Limits(max_payload=100, window=300)
        self.a, self.b = Side(1, limits), Side(2, limits)

    async def asyncTearDown(self) -> None:
        self.a.link.close()
        self.b.link.close()

    def connect(self) -> None:
        """Begins a new session for both."""
        readies = self.a.link.ready(), self.b.link.ready()
        self.a.conversation = Conversation(self.a.link, *readies, lambda: None)
        self.b.conversation = Conversation(self.b.link, *readies[::-1], lambda: None)
        self.a.conversation.begin()
        self.b.conversation.begin()

    async def exchange(self, frames: int = 1000) -> list[Frame]:
        """Lets frames pass until there are no more, and returns them."""
        passed: list[Frame] = []
        quiet = 0
        while quiet < 2:
            quiet += 1
            for here, there in ((self.a, self.b), (self.b, self.a)):
                while len(passed) < frames and (frame := here.conversation.next_frame()):
                    there.conversation.handle(frame)
                    passed.append(frame)
                    quiet = 0
                await asyncio.sleep(0)
        return passed

    async def test_nothing_is_lost_or_repeated_over_sessions(self) -> None:
        texts = [str(n) for n in range(50)]
        for text in texts:
            self.a.link.send(text)
        for frames in (1, 5, 9, 14, 1000):
            self.connect()
            await self.exchange(frames)
        self.assertEqual(self.b.received, texts)
        self.assertFalse(self.a.link.pending)

    async def test_what_waits_travels_together_if_the_peer_knows_how(self) -> None:
        texts = [str(n) for n in range(10)]
        for features, expected in ((1, [Kind.BATCH]), (0, [Kind.DATA] * 10)):
            with self.subTest(features=features):
                await self.asyncTearDown()
                await self.asyncSetUp()
                for text in texts:
                    self.a.link.send(text)
                self.connect()
                peers = replace(self.a.conversation.peers, features=features)
                self.a.conversation.peers = peers
                sent = [f.kind for f in await self.exchange() if f.kind != Kind.ACK]
                self.assertEqual(sent, expected)
                self.assertEqual(self.b.received, texts)

    async def test_text_and_bytes_stay_what_they_are(self) -> None:
        messages = ["1", b"1", b"\xff\x00", "", b"", "é", "é".encode()]
        for features in (1, 0):
            with self.subTest(features=features):
                await self.asyncTearDown()
                await self.asyncSetUp()
                self.b.link.bytes_handler = self.b.handle_bytes
                for message in messages:
                    self.a.link.send(message)
                for frames in (1, 1000):
                    self.connect()
                    peers = replace(self.a.conversation.peers, features=features)
                    self.a.conversation.peers = peers
                    await self.exchange(frames)
                self.assertEqual(self.b.received, messages)

    async def test_who_takes_text_rejects_bytes(self) -> None:
        self.connect()
        for message in ("1", b"2", "3"):
            self.a.link.send(message)
        await self.exchange()
        self.assertEqual(self.b.received, ["1", "3"])
        self.assertEqual(self.a.link.rejections, [Rejection(2, RejectionCode.TEXT_ONLY)])

    async def test_text_that_is_none_is_not_a_handler_that_fails(self) -> None:
        self.connect()
        self.a.link.send("worse")
        self.a.link.pending.append(Outgoing(2, Payload(b"\xff")))
        self.a.link.next = 3
        with self.assertLogs("paddington"):
            await self.exchange()
        told = [Rejection(1, RejectionCode.FAILED), Rejection(2, RejectionCode.NOT_TEXT)]
        self.assertEqual(self.a.link.rejections, told)

    async def test_a_rejections_text_is_always_text(self) -> None:
        self.assertEqual(cut("x" + "é" * 200), "x" + "é" * 127)
        self.assertEqual(cut("no \udcff"), "no ?")

    async def test_a_rejection_is_told_again_until_it_is_known(self) -> None:
        self.connect()
        self.a.link.send("bad")
        frames = [f for f in iter(self.a.conversation.next_frame, None) if f.kind == Kind.DATA]
        with self.assertLogs("paddington"):
            self.b.conversation.handle(frames[0])
            await asyncio.sleep(0)
        lost = self.b.conversation.next_frame()
        assert lost is not None
        self.assertEqual(decode_rejections(lost.payload), [Rejection(1, RejectionCode.FAILED)])
        self.assertEqual(self.b.link.ready().yours[0].second, 0)
        self.connect()
        await self.exchange()
        self.assertEqual(self.a.link.rejections, [Rejection(1, RejectionCode.FAILED)])
        self.connect()
        await self.exchange()
        self.assertEqual(self.a.link.rejections, [Rejection(1, RejectionCode.FAILED)])
        self.assertEqual(self.b.link.ready().yours[0].second, 1)

    async def test_no_message_has_a_number_above_the_highest(self) -> None:
        highest = (1 << 64) - 1
        ready = self.a.link.ready()
        ready = replace(ready, mine=[replace(ready.mine[0], first=highest, second=highest)])
        conversation = Conversation(self.b.link, self.b.link.ready(), ready, lambda: None)
        conversation.begin()
        two = Frame(Kind.BATCH, id=highest, payload=encode_batch([Payload(b"1"), Payload(b"2")]))
        self.assertRaises(Violation, conversation.handle, two)
        conversation.handle(Frame(Kind.BATCH, id=highest, payload=encode_batch([Payload(b"1")])))
        await asyncio.sleep(0)
        self.assertEqual(self.b.received, ["1"])
        self.assertEqual(conversation.next_frame().encode()[16:24], b"\xff" * 8)

    async def test_who_breaks_the_rules_is_found_out(self) -> None:
        long = Frame(Kind.DATA, id=1, payload=b"x" * 100)
        for why, frames in {
            "a message is missing": [Frame(Kind.DATA, id=2)],
            "beyond the credit": [long, long, long],
            "an ack of what was never sent": [Frame(Kind.ACK, ack=1)],
            "a stream beyond the list": [Frame(Kind.DATA, stream=1, id=1)],
            "an ack_stream beyond the list": [Frame(Kind.ACK, ack_stream=1)],
            "a second READY": [Frame(Kind.READY)],
        }.items():
            with self.subTest(why=why):
                await self.asyncTearDown()
                await self.asyncSetUp()
                self.connect()
                for frame in frames[:-1]:
                    self.b.conversation.handle(frame)
                self.assertRaises(Violation, self.b.conversation.handle, frames[-1])


if __name__ == "__main__":
    unittest.main()
