"""The two ciphers of a session, which count its frames and change its keys (§4)."""

from .keys import Refused, derive, seal_inner, seal_outer, u64, unseal_inner, unseal_outer

FRAMES_PER_EPOCH = 1024
LAST_FRAME = 1 << 48


class Direction:
    """The frames of one direction: their number, and the secrets of the epoch."""

    def __init__(self, inner: bytes, outer: bytes) -> None:
        self.count = 0
        self.rekeys = 0
        self._use(inner, outer)

    def _use(self, inner: bytes, outer: bytes) -> None:
        self._inner, self._outer = inner, outer
        self._inner_key = derive(inner, "key", b"", 32)
        self._outer_key = derive(outer, "key", b"", 32)

    def _next(self) -> int:
        """The number of the frame that is to come, under the keys of its epoch."""
        number = self.count
        if number >= LAST_FRAME:
            raise Refused("the session has had all its frames")
        if number > 0 and number % FRAMES_PER_EPOCH == 0:
            self._use(derive(self._inner, "next", b"", 64), derive(self._outer, "next", b"", 64))
            self.rekeys += 1
        self.count += 1
        return number

    def seal(self, plaintext: bytes) -> bytes:
        """Seals the next frame."""
        number = self._next()
        layer = seal_inner(self._inner_key, number, b"", plaintext)
        return seal_outer(self._outer_key, number, b"", layer)

    def unseal(self, frame: bytes) -> bytes:
        """Opens the next frame; fails with Refused, which ends the session."""
        number = self._next()
        layer = unseal_outer(self._outer_key, number, b"", frame)
        return unseal_inner(self._inner_key, number, b"", layer)


class RenewalSecrets:
    """`xi` and `xo` of a session, from which the keys of its next RENEW follow (§5.5)."""

    def __init__(self, inner: bytes, outer: bytes) -> None:
        self.inner, self.outer = inner, outer

    def keys(self, generation: int) -> tuple[bytes, bytes]:
        """Returns the two keys of the next RENEW, if it has this number."""
        context = u64(generation)
        inner = derive(self.inner, "key", context, 32)
        return inner, derive(self.outer, "key", context, 32)

    def advance(self) -> None:
        """Goes on to the RENEW after that."""
        self.inner = derive(self.inner, "next", b"", 64)
        self.outer = derive(self.outer, "next", b"", 64)


class Session:
    """The result of a handshake: a direction to send on and one to receive on, and the secrets of
    renewals (§5.5)."""

    def __init__(
        self, sending: Direction, receiving: Direction, renewal: RenewalSecrets
    ) -> None:
        self.sending = sending
        self.receiving = receiving
        self.renewal = renewal
