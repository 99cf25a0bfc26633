"""Padding, and frames that break the rules of §4.1."""

import unittest

from paddington.frames import Frame, Kind, Payload, Ready, StreamEntry, Violation, encode_batch, padme

PADME = {
    24: 128,
    129: 144,
    200: 208,
    1000: 1024,
    1025: 1088,
    4097: 4352,
    65537: 67584,
    1048600: 1081344,
}
ME, OTHER = bytes(range(16)), bytes(range(16, 32))


def plain(kind: int, at: int = 0, value: int = 0, payload: bytes = b"") -> bytes:
    """The plaintext of a frame in which one byte is changed."""
    plaintext = bytearray(24) + payload
    plaintext[0] = kind
    plaintext[4:8] = len(payload).to_bytes(4, "big")
    if at:
        plaintext[at] = value
    return bytes(plaintext)


class Frames(unittest.TestCase):
    """The plaintext of one frame."""

    def test_padme(self) -> None:
        for length, padded in PADME.items():
            self.assertEqual(padme(length), padded)

    def test_frames_come_back(self) -> None:
        frames = [
            Frame(Kind.DATA, 3, 4, True, 5, 6, "é".encode()),
            Frame(Kind.DATA, again=True, id=5, payload=b"\xff", is_bytes=True),
            Frame(Kind.DATA, id=5, payload=b"\xff", is_bytes=True),
            Frame(Kind.ACK, ack_stream=1, id=1 << 40, ack=7, payload=bytes(22)),
            Frame(Kind.SKIP, stream=2, ack_stream=1, id=9, ack=7),
            Frame(Kind.CLOSE, id=77),
            Frame(Kind.DRAIN),
            Frame(Kind.RENEW, id=(1 << 64) - 1),
            Frame(Kind.RENEW),
            Frame(Kind.RENEWED, id=1),
            Frame(Kind.BATCH, 1, 2, True, 3, 4, encode_batch([Payload(b""), Payload(b"xy", True)])),
        ]
        for frame in frames:
            for padded in (True, False):
                self.assertEqual(Frame.decode(frame.encode(padded), 10), frame)

    def test_violations(self) -> None:
        cases = {
            "an empty plaintext": b"",
            "no whole head": bytes([4]) + bytes(22),
            "kind 0": plain(0),
            "kind 13": plain(13),
            "a long batch": plain(9, payload=b"x" * 65),
            "bytes on BATCH": plain(9, 3, 2),
            "bytes on PING": plain(4, 3, 2),
            "bytes on SKIP": plain(7, 3, 2),
            "a stream in PING": plain(4, 1, 1),
            "an ack_stream in PING": plain(4, 2, 1),
            "a flag on PING": plain(4, 3, 1),
            "another flag on DATA": plain(2, 3, 4),
            "the highest flag on DATA": plain(2, 3, 0x83),
            "an ack in PING": plain(4, 23, 1),
            "an id in DRAIN": plain(8, 15, 1),
            "an ack in RENEW": plain(11, 23, 1),
            "a flag on RENEWED": plain(12, 3, 1),
            "a stream in RENEWED": plain(12, 1, 1),
            "a payload in RENEW": plain(11, payload=b"x"),
            "a payload in PING": plain(4, payload=b"x"),
            "a payload in SKIP": plain(7, payload=b"x"),
            "a payload beyond the frame": plain(2, 7, 200),
            "half a rejection": plain(3, payload=b"x"),
            "half a text": plain(3, payload=bytes(10) + b"\2x"),
            "a text that is not UTF-8": plain(3, payload=bytes(10) + b"\1\xff"),
            "1025 rejections": plain(3, payload=bytes(11 * 1025)),
            "a long message": plain(2, payload=b"x" * 65),
            "padding": plain(4) + b"\0\1",
        }
        for why, plaintext in cases.items():
            with self.subTest(why=why):
                self.assertRaises(Violation, Frame.decode, plaintext, 64)


class Readies(unittest.TestCase):
    """The payload of READY."""

    def ready(
        self,
        mine: list[StreamEntry] | None = None,
        yours: list[StreamEntry] | None = None,
        max_payload: int = 64,
        software: str = "",
    ) -> bytes:
        """Returns a READY that is valid except for the given fields."""
        mine = [StreamEntry(ME, 1, 1)] if mine is None else mine
        return Ready(ME, max_payload, 128, mine, yours or [], 0, software).encode()

    def test_later_versions_may_add(self) -> None:
        payload = self.ready(yours=[StreamEntry(OTHER, 3, 2)])
        self.assertEqual(Ready.decode(payload + b"later"), Ready.decode(payload))

    def test_violations(self) -> None:
        cases = {
            "too short": bytes(35),
            "no stream": self.ready([]),
            "the current stream is not the last": self.ready(
                [StreamEntry(ME, 1, 1), StreamEntry(OTHER, 1, 1)]
            ),
            "an instance twice": self.ready([StreamEntry(ME, 1, 1), StreamEntry(ME, 1, 1)]),
            "base 0": self.ready([StreamEntry(ME, 0, 1)]),
            "base above next": self.ready([StreamEntry(ME, 2, 1)]),
            "completed above received": self.ready(yours=[StreamEntry(OTHER, 1, 2)]),
            "max_payload 0": self.ready(max_payload=0),
            "max_payload too high": self.ready(max_payload=16_777_193),
            "65 streams": self.ready(
                [StreamEntry(i.to_bytes(16, "big"), 1, 1) for i in range(64)]
                + [StreamEntry(ME, 1, 1)]
            ),
            "a list cut short": self.ready()[:-2],
            "no software": self.ready()[:-1],
            "software cut short": self.ready(software="abc")[:-1],
            "software that is too long": self.ready(software="x" * 65),
            "software with a newline": self.ready(software="a\n"),
            "software with DEL": self.ready(software="\x7f"),
            "software that is not ASCII": self.ready(software="ab")[:-1] + b"\xe9",
        }
        for why, payload in cases.items():
            with self.subTest(why=why):
                self.assertRaises(Violation, Ready.decode, payload)


if __name__ == "__main__":
    unittest.main()
