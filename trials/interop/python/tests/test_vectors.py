"""The files of docs/vectors, calculated again from the formulas of docs/protocol.md."""

import json
import unittest
from pathlib import Path
from typing import Any

from paddington import handshake, hexadecimal, xwing
from paddington.calls import NO_LIMIT, Item, What, decode_calls, encode_calls
from paddington.frames import (
    CallsState,
    CloseCode,
    Frame,
    Kind,
    Payload,
    Ready,
    Rejection,
    StreamEntry,
    Violation,
    decode_batch,
    decode_rejections,
    encode_batch,
    encode_rejections,
)
from paddington.handshake import ClientHandshake, ClientSecrets, ServerSecrets
from paddington.keys import LinkKeys, Refused, derive, digest, extract
from paddington.session import FRAMES_PER_EPOCH, Direction, Session

VECTORS = Path(__file__).parents[4] / "docs" / "vectors"
TEXTS = {"server", "client", "message_utf8_text", "hello", "reply", "message_1000", "message_utf8"}


def counting(start: int, length: int) -> bytes:
    """The fixed values of §14."""
    return bytes((start + i) % 256 for i in range(length))


def load(name: str) -> Any:
    """One of the files."""
    return json.loads((VECTORS / name).read_text())


def described(item: Item) -> dict[str, Any]:
    """An item in the words of calls.json."""
    table: dict[str, Any] = {"what": item.what.name.lower(), "call": item.call}
    if item.what == What.REQUEST:
        table |= {"depth": item.short, "left": None if item.long == NO_LIMIT else item.long}
    if item.what == What.FAILURE:
        table["code"] = item.short
    if item.what != What.CANCEL:
        table |= {"bytes": item.body.hex()} if item.is_bytes else {"text": item.body.decode()}
    return table


class Sealed(unittest.TestCase):
    """sealed.json: a handshake and frames."""

    def setUp(self) -> None:
        table = load("sealed.json")
        self.names = table.pop("server"), table.pop("client")
        self.v = {name: bytes.fromhex(value) for name, value in table.items()}
        self.keys = LinkKeys.of(*self.names, self.v["inner_key"], self.v["outer_key"])

    def client(self) -> ClientHandshake:
        """The client of the vectors."""
        drawn = ClientSecrets(self.v["client_random"], self.v["kc"], self.v["xwing_seed"])
        instance, challenge = self.v["client_instance"], self.v["challenge"]
        return ClientHandshake(self.keys, instance, challenge, drawn)

    def sessions(self) -> tuple[Session, Session]:
        """The client's session and the server's, after the handshake of the vectors."""
        client = self.client()
        hello = handshake.open_hello(self.keys, self.v["challenge"], client.hello)
        drawn = ServerSecrets(self.v["ks"], self.v["xwing_eseed"])
        reply, session = handshake.answer(self.keys, hello, drawn)
        self.assertEqual(reply, self.v["reply"])
        return client.finish(reply), session

    def test_the_fixed_values_are_those_of_the_page(self) -> None:
        starts = {
            "inner_key": (0x00, 32),
            "outer_key": (0x20, 32),
            "challenge": (0x40, 32),
            "client_random": (0x60, 32),
            "kc": (0x80, 32),
            "xwing_seed": (0xA0, 32),
            "ks": (0xC0, 32),
            "xwing_eseed": (0xE0, 64),
            "client_instance": (0x01, 16),
            "server_instance": (0x11, 16),
        }
        for name, (start, length) in starts.items():
            self.assertEqual(self.v[name], counting(start, length), name)
        self.assertEqual(self.names, ("echo-server", "echo-client"))

    def test_the_keys_of_the_link(self) -> None:
        self.assertEqual(self.keys.h0, self.v["h0"])
        self.assertEqual(self.keys.inner, self.v["prk_inner"])
        self.assertEqual(self.keys.outer, self.v["prk_outer"])

    def test_x_wing(self) -> None:
        made = xwing.encapsulate(self.v["xwing_ek"], self.v["xwing_eseed"])
        self.assertEqual(xwing.encapsulation_key(self.v["xwing_seed"]), self.v["xwing_ek"])
        self.assertEqual(made, (self.v["xwing_ct"], self.v["ss"]))
        self.assertEqual(xwing.decapsulate(self.v["xwing_seed"], self.v["xwing_ct"]), self.v["ss"])

    def test_hello(self) -> None:
        v = self.v
        self.assertEqual(self.client().hello, v["hello"])
        self.assertEqual(handshake.hint(self.keys, v["challenge"], v["client_random"]), v["hint"])
        self.assertEqual(handshake.find([self.keys], v["challenge"], v["hello"]), 0)
        h1 = digest(v["h0"] + v["challenge"] + v["client_random"] + v["hint"])
        self.assertEqual(h1, v["h1"])
        self.assertEqual(derive(v["prk_inner"], "hello inner", h1, 32), v["hello_inner_key"])
        self.assertEqual(derive(v["prk_outer"], "hello outer", h1, 32), v["hello_outer_key"])
        opened = handshake.open_hello(self.keys, v["challenge"], v["hello"])
        self.assertEqual(opened.h2, v["h2"])
        self.assertEqual(opened.instance, v["client_instance"])
        self.assertEqual(opened.client_key, v["kc"])
        self.assertEqual(opened.ek, v["xwing_ek"])

    def test_reply_and_the_secrets_of_the_session(self) -> None:
        v = self.v
        inner = derive(v["prk_inner"], "reply inner", v["h2"], 32)
        outer = derive(extract(v["h2"], v["kc"]), "reply outer", v["h2"], 32)
        self.assertEqual((inner, outer), (v["reply_inner_key"], v["reply_outer_key"]))
        self.assertEqual(digest(v["h2"] + v["reply"]), v["h3"])
        common = v["ss"] + v["prk_inner"] + v["prk_outer"]
        self.assertEqual(extract(v["h3"], b"\x01" + v["ks"] + common), v["session_inner"])
        self.assertEqual(extract(v["h3"], b"\x02" + v["kc"] + common), v["session_outer"])
        client, server = self.sessions()
        for ours, theirs in (
            (client.sending, server.receiving),
            (server.sending, client.receiving),
        ):
            self.assertEqual(
                theirs.unseal(ours.seal(b"both have the same keys")), b"both have the same keys"
            )

    def test_frame_keys_before_and_after_a_rekey(self) -> None:
        v = self.v
        for layer in ("inner", "outer"):
            secret = derive(v[f"session_{layer}"], "s2c", v["h3"], 64)
            self.assertEqual(secret, v[f"s2c_{layer}_secret0"])
            self.assertEqual(derive(secret, "key", b"", 32), v[f"s2c_{layer}_key0"])
            after = derive(secret, "next", b"", 64)
            self.assertEqual(derive(after, "key", b"", 32), v[f"s2c_{layer}_key1"])
            other = derive(v[f"session_{layer}"], "c2s", v["h3"], 64)
            self.assertEqual(derive(other, "key", b"", 32), v[f"c2s_{layer}_key0"])

    def ready(self, instance: bytes) -> Frame:
        """The READY of the vectors."""
        mine = [StreamEntry(instance, 1, 1)]
        payload = Ready(instance, 1_048_576, 8_388_608, mine, [], 0, "paddington/vectors").encode()
        return Frame(Kind.READY, payload=payload)

    def check(self, sending: Direction, name: str, plaintext: bytes) -> None:
        """Checks that the next frame is the one of the vectors."""
        self.assertEqual(sending.seal(plaintext), self.v[name], name)

    def test_frames_of_the_server(self) -> None:
        client, server = self.sessions()
        ready = self.ready(self.v["server_instance"])
        self.check(server.sending, "frame_s2c_0_ready", ready.encode())
        first = Frame(Kind.DATA, id=1, payload=b"1000")
        self.check(server.sending, "frame_s2c_1_data", first.encode())
        for _ in range(2, FRAMES_PER_EPOCH):
            server.sending.seal(b"")
        later = Frame(Kind.DATA, id=1024, payload=b"-23")
        self.check(server.sending, "frame_s2c_1024_data", later.encode())
        opened = client.receiving.unseal(self.v["frame_s2c_0_ready"])
        self.assertEqual(Frame.decode(opened, 1 << 20), ready)
        self.assertEqual(Ready.decode(ready.payload).window, 8_388_608)
        self.assertEqual(Ready.decode(ready.payload).software, "paddington/vectors")

    def test_frames_of_the_client(self) -> None:
        client, server = self.sessions()
        ready = self.ready(self.v["client_instance"])
        self.check(client.sending, "frame_c2s_0_ready", ready.encode())
        ping = Frame(Kind.PING, id=7)
        self.check(client.sending, "frame_c2s_1_ping_unpadded", ping.encode(padded=False))
        server.receiving.unseal(self.v["frame_c2s_0_ready"])
        opened = server.receiving.unseal(self.v["frame_c2s_1_ping_unpadded"])
        self.assertEqual(Frame.decode(opened, 1 << 20), ping)

    def open(self, of: str, data: bytes) -> None:
        """Opens a part of the handshake, or a frame, as its receiver would."""
        if of == "hello":
            if handshake.find([self.keys], self.v["challenge"], data) is None:
                raise Refused("no link has this hint")
            handshake.open_hello(self.keys, self.v["challenge"], data)
        elif of == "reply":
            self.client().finish(data)
        else:
            client, server = self.sessions()
            receiver = client if of == "frame_s2c_0_ready" else server
            receiver.receiving.unseal(data)

    def test_calls(self) -> None:
        table = load("calls.json")
        plaintext = bytes.fromhex(table["plaintext"])
        received, items = decode_calls(Frame.decode(plaintext, 100).payload, 1 << 20)
        self.assertEqual(received, 5)
        self.assertEqual([described(item) for item in items], table["items"])
        frame = Frame(Kind.CALLS, id=1, payload=encode_calls(5, items)).encode()
        self.assertEqual(frame, plaintext)
        client, _ = self.sessions()
        client.sending.seal(b"")  # frame 0
        self.assertEqual(client.sending.seal(frame).hex(), table["frame_c2s_1_calls"])
        ready = Frame.decode(bytes.fromhex(table["ready"]), 100)
        calls = Ready.decode(ready.payload).calls
        self.assertEqual(calls, CallsState(128, 2_097_152, self.v["server_instance"], 5))
        self.assertEqual(Ready.decode(ready.payload).encode(), ready.payload)
        for payload in table["bad_payloads"]:
            with self.subTest(payload=payload[:200]):
                self.assertRaises(Violation, decode_calls, bytes.fromhex(payload), 1 << 20)

    def test_a_batch(self) -> None:
        table = load("batch.json")
        messages = [
            Payload(bytes.fromhex(message["bytes"]), True)
            if "bytes" in message
            else Payload(message["text"].encode())
            for message in table["messages"]
        ]
        plaintext = Frame(Kind.BATCH, id=1, payload=encode_batch(messages)).encode()
        self.assertEqual(plaintext.hex(), table["plaintext"])
        self.assertEqual(decode_batch(Frame.decode(plaintext, 100).payload), messages)
        client, _ = self.sessions()
        client.sending.seal(b"READY is frame 0")
        self.assertEqual(client.sending.seal(plaintext).hex(), table["frame_c2s_1_batch"])
        data = Frame(Kind.DATA, id=5, payload=messages[2].data, is_bytes=True)
        self.assertEqual(client.sending.seal(data.encode()).hex(), table["frame_c2s_2_bytes"])
        self.assertEqual(Frame.decode(data.encode(), 100), data)
        for payload in table["bad_payloads"]:
            with self.subTest(payload=payload[:80]):
                self.assertRaises(Violation, decode_batch, bytes.fromhex(payload))
        for plaintext in map(bytes.fromhex, table["bad_plaintexts"]):
            with self.subTest(plaintext=plaintext[:8]):
                self.assertRaises(Violation, Frame.decode, plaintext, 100)

    def test_frames_that_acknowledge_skip_and_end(self) -> None:
        table = load("frames.json")
        rejected = [Rejection(**rejection) for rejection in table["rejected"]]
        payload = encode_rejections(rejected)
        self.assertEqual(decode_rejections(payload), rejected)
        client, _ = self.sessions()
        client.sending.seal(b"READY is frame 0")
        for number, name, frame in (
            (1, "ack", Frame(Kind.ACK, id=9_000_000, ack=5)),
            (2, "ack_rejected", Frame(Kind.ACK, id=9_000_100, ack=7, payload=payload)),
            (3, "skip", Frame(Kind.SKIP, id=9, ack=7)),
            (4, "drain", Frame(Kind.DRAIN)),
            (5, "close", Frame(Kind.CLOSE, id=CloseCode.REMOVED)),
        ):
            plaintext = frame.encode()
            self.assertEqual(plaintext.hex(), table[name])
            self.assertEqual(Frame.decode(plaintext, 100), frame)
            sealed = client.sending.seal(plaintext).hex()
            self.assertEqual(sealed, table[f"frame_c2s_{number}_{name}"])
        for payload in table["bad_payloads"]:
            with self.subTest(payload=payload[:80]):
                self.assertRaises(Violation, decode_rejections, bytes.fromhex(payload))
        for plaintext in map(bytes.fromhex, table["bad_plaintexts"]):
            with self.subTest(plaintext=plaintext[:24].hex()):
                self.assertRaises(Violation, Frame.decode, plaintext, 100)

    def test_nothing_opens_that_must_not(self) -> None:
        cases = [
            case for case in load("negative.json")["cases"] if not case["of"].startswith("hex")
        ]
        self.assertGreater(len(cases), 30)
        for case in cases:
            with self.subTest(of=case["of"], why=case["why"]):
                self.open(case["of"], self.v[case["of"]])
                self.assertRaises(Refused, self.open, case["of"], bytes.fromhex(case["bytes"]))

    def test_a_hello_is_of_no_other_services(self) -> None:
        for server, client in load("negative.json")["other_names"]:
            keys = LinkKeys.of(server, client, self.v["inner_key"], self.v["outer_key"])
            v = self.v
            self.assertIsNone(handshake.find([keys], v["challenge"], v["hello"]))
            self.assertRaises(Refused, handshake.open_hello, keys, v["challenge"], v["hello"])


    def test_renewals(self) -> None:
        if not (VECTORS / "renewal.json").exists():
            self.skipTest("there is no renewal.json yet")
        table = load("renewal.json")
        client, server = self.sessions()
        self.assertEqual(self.keys.identity().hex(), table["link"])
        for renewal in table["renewals"]:
            if renewal["generation"] == table["renewals"][0]["generation"]:
                for layer, name in (("inner", "xi"), ("outer", "xo")):
                    secret = derive(self.v[f"session_{layer}"], "renew", self.v["h3"], 64)
                    self.assertEqual(secret.hex(), renewal[name])
            for session in (client, server):
                pair = session.renewal.keys(renewal["generation"])
                session.renewal.advance()
                told = renewal["inner_key"], renewal["outer_key"]
                self.assertEqual(tuple(key.hex() for key in pair), told)
            keys = LinkKeys.of("echo-server", "echo-client", *pair)
            self.assertEqual(keys.outer.hex(), renewal["prk_outer"])
            self.assertEqual(keys.inner.hex(), renewal["prk_inner"])
        first, second = (renewal["generation"] for renewal in table["renewals"])
        for session in (server, client):
            session.sending.seal(b"READY is frame 0")
        for session, name, frame in (
            (client, "frame_c2s_1_renew_asked", Frame(Kind.RENEW)),
            (server, "frame_s2c_1_renew", Frame(Kind.RENEW, id=first)),
            (client, "frame_c2s_2_renewed", Frame(Kind.RENEWED, id=first)),
            (server, "frame_s2c_2_renew", Frame(Kind.RENEW, id=second)),
            (client, "frame_c2s_3_renewed", Frame(Kind.RENEWED, id=second)),
        ):
            self.assertEqual(session.sending.seal(frame.encode()).hex(), table[name])
            self.assertEqual(Frame.decode(frame.encode(), 100), frame)
        for plaintext in map(bytes.fromhex, table["bad_plaintexts"]):
            with self.subTest(plaintext=plaintext[:24].hex()):
                self.assertRaises(Violation, Frame.decode, plaintext, 100)


class Hex(unittest.TestCase):
    """hex.json: the envelopes of the original."""

    def setUp(self) -> None:
        table = load("hex.json")
        self.v: dict[str, Any] = {
            k: v if k in TEXTS else bytes.fromhex(v) for k, v in table.items()
        }
        self.nonces = self.v["inner_nonce"], self.v["outer_nonce"]
        invited, in_session = ("inner_key", "outer_key"), ("ks", "kc")
        self.parts = {
            "hello": ({"data": self.v["kc"].hex()}, invited),
            "reply": ({"data": self.v["ks"].hex()}, ("inner_key", "kc")),
            "message_1000": ("1000", in_session),
            "message_utf8": (self.v["message_utf8_text"], in_session),
        }

    def test_envelopes(self) -> None:
        for name, (value, (inner, outer)) in self.parts.items():
            keys = self.v[inner], self.v[outer]
            made = hexadecimal.envelope(value, *keys, self.nonces)
            self.assertEqual(made, self.v[name], name)
            self.assertEqual(hexadecimal.open_envelope(self.v[name], *keys), value, name)

    def test_nothing_opens_that_must_not(self) -> None:
        cases = [case for case in load("negative.json")["cases"] if case["of"].startswith("hex")]
        self.assertGreater(len(cases), 10)
        for case in cases:
            with self.subTest(of=case["of"], why=case["why"]):
                _, (inner, outer) = self.parts[case["of"].removeprefix("hex_")]
                keys = self.v[inner], self.v[outer]
                self.assertRaises(Refused, hexadecimal.open_envelope, case["bytes"], *keys)


if __name__ == "__main__":
    unittest.main()
