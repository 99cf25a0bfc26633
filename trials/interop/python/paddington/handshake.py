"""HELLO, REPLY and the secrets of a session (§3)."""

import hmac
import secrets
from dataclasses import dataclass, field

from . import xwing
from .keys import (
    LinkKeys,
    Refused,
    derive,
    digest,
    extract,
    seal_inner,
    seal_outer,
    unseal_inner,
    unseal_outer,
)
from .session import Direction, RenewalSecrets, Session

HELLO, REPLY, KEY, INSTANCE, HINT = 1344, 1184, 32, 16, 16


@dataclass(frozen=True)
class ClientSecrets:
    """The random values of a client, new for each connection."""

    random: bytes
    key: bytes = field(repr=False)
    xwing_seed: bytes = field(repr=False)

    @staticmethod
    def draw() -> "ClientSecrets":
        """Draws new ones from the operating system."""
        return ClientSecrets(
            secrets.token_bytes(KEY), secrets.token_bytes(KEY), secrets.token_bytes(xwing.SEED)
        )


@dataclass(frozen=True)
class ServerSecrets:
    """The random values of a server, new for each connection."""

    key: bytes = field(repr=False)
    encapsulation_seed: bytes = field(repr=False)

    @staticmethod
    def draw() -> "ServerSecrets":
        """Draws new ones from the operating system."""
        return ServerSecrets(
            secrets.token_bytes(KEY), secrets.token_bytes(xwing.ENCAPSULATION_SEED)
        )


@dataclass(frozen=True)
class Hello:
    """A HELLO that opened: its client, and the values that REPLY needs."""

    instance: bytes
    client_key: bytes = field(repr=False)
    ek: bytes = field(repr=False)
    h2: bytes = field(repr=False)


def hint(keys: LinkKeys, challenge: bytes, random: bytes) -> bytes:
    """Returns the hint by which the server finds the link of a HELLO."""
    return derive(keys.outer, "hint", challenge + random, HINT)


def _hello_keys(keys: LinkKeys, challenge: bytes, head: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns `h1`, `hi` and `ho` of a HELLO that begins with this head: `hint ‖ cr`."""
    h1 = digest(keys.h0 + challenge + head[HINT:] + head[:HINT])
    return (
        h1,
        derive(keys.inner, "hello inner", h1, KEY),
        derive(keys.outer, "hello outer", h1, KEY),
    )


def _reply_keys(keys: LinkKeys, h2: bytes, client_key: bytes) -> tuple[bytes, bytes]:
    """Returns `ri` and `ro`."""
    inner = derive(keys.inner, "reply inner", h2, KEY)
    return inner, derive(extract(h2, client_key), "reply outer", h2, KEY)


def _session(
    keys: LinkKeys, h3: bytes, client_key: bytes, server_key: bytes, shared: bytes, is_client: bool
) -> Session:
    """Derives the session, on both sides."""
    common = shared + keys.inner + keys.outer
    inner = extract(h3, b"\x01" + server_key + common)
    outer = extract(h3, b"\x02" + client_key + common)
    c2s, s2c = (
        Direction(derive(inner, d, h3, 64), derive(outer, d, h3, 64)) for d in ("c2s", "s2c")
    )
    renewal = RenewalSecrets(derive(inner, "renew", h3, 64), derive(outer, "renew", h3, 64))
    return Session(c2s, s2c, renewal) if is_client else Session(s2c, c2s, renewal)


class ClientHandshake:
    """The client's side of one handshake."""

    def __init__(
        self, keys: LinkKeys, instance: bytes, challenge: bytes, drawn: ClientSecrets | None = None
    ) -> None:
        self._keys = keys
        self._drawn = drawn or ClientSecrets.draw()
        head = hint(keys, challenge, self._drawn.random) + self._drawn.random
        h1, inner, outer = _hello_keys(keys, challenge, head)
        body = self._drawn.key + instance + xwing.encapsulation_key(self._drawn.xwing_seed)
        sealed = seal_outer(outer, 0, h1, seal_inner(inner, 0, h1, body))
        self._h2 = digest(h1 + sealed)
        self.hello = head + sealed

    def finish(self, reply: bytes) -> Session:
        """Opens REPLY; fails with Refused."""
        if len(reply) != REPLY:
            raise Refused("REPLY has another length")
        inner, outer = _reply_keys(self._keys, self._h2, self._drawn.key)
        body = unseal_inner(inner, 0, self._h2, unseal_outer(outer, 0, self._h2, reply))
        shared = xwing.decapsulate(self._drawn.xwing_seed, body[KEY:])
        h3 = digest(self._h2 + reply)
        return _session(self._keys, h3, self._drawn.key, body[:KEY], shared, True)


def find(links: list[LinkKeys], challenge: bytes, hello: bytes) -> int | None:
    """Returns the link of a HELLO. Looks at all links."""
    if len(hello) != HELLO:
        raise Refused("HELLO has another length")
    head, found = hello[: HINT + KEY], None
    for index, keys in enumerate(links):
        if hmac.compare_digest(hint(keys, challenge, head[HINT:]), head[:HINT]):
            found = index
    return found


def open_hello(keys: LinkKeys, challenge: bytes, hello: bytes) -> Hello:
    """Opens a HELLO; fails with Refused."""
    if len(hello) != HELLO:
        raise Refused("HELLO has another length")
    head, sealed = hello[: HINT + KEY], hello[HINT + KEY :]
    h1, inner, outer = _hello_keys(keys, challenge, head)
    body = unseal_inner(inner, 0, h1, unseal_outer(outer, 0, h1, sealed))
    key, instance, ek = body[:KEY], body[KEY : KEY + INSTANCE], body[KEY + INSTANCE :]
    return Hello(instance, key, ek, digest(h1 + sealed))


def answer(
    keys: LinkKeys, hello: Hello, drawn: ServerSecrets | None = None
) -> tuple[bytes, Session]:
    """Returns the REPLY to a HELLO, and the session that it begins; fails with Refused."""
    drawn = drawn or ServerSecrets.draw()
    ct, shared = xwing.encapsulate(hello.ek, drawn.encapsulation_seed)
    inner, outer = _reply_keys(keys, hello.h2, hello.client_key)
    reply = seal_outer(outer, 0, hello.h2, seal_inner(inner, 0, hello.h2, drawn.key + ct))
    h3 = digest(hello.h2 + reply)
    return reply, _session(keys, h3, hello.client_key, drawn.key, shared, False)
