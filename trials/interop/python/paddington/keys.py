"""The primitives of §1.2, and the keys that a link derives from its invitation."""

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl import bindings
from nacl.exceptions import CryptoError

PROTOCOL = b"paddington/1 sealed X-Wing HKDF-SHA512 XChaCha20Poly1305 AES256GCM"
TAG = 16


class Refused(Exception):
    """The peer is not the right one, or what it sent is not valid."""


def u16(number: int) -> bytes:
    """Returns the number as 2 bytes, big-endian."""
    return number.to_bytes(2, "big")


def u64(number: int) -> bytes:
    """Returns the number as 8 bytes, big-endian."""
    return number.to_bytes(8, "big")


def prefixed(data: bytes) -> bytes:
    """`lp`: the data after its length, which is one byte."""
    return bytes([len(data)]) + data


def digest(data: bytes) -> bytes:
    """`H`: SHA-512."""
    return hashlib.sha512(data).digest()


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with HMAC-SHA-512."""
    return hmac.digest(salt, ikm, "sha512")


def derive(prk: bytes, label: str, context: bytes, length: int) -> bytes:
    """`Derive`: HKDF-Expand with HMAC-SHA-512, and an `info` that names the use."""
    info = u16(length) + prefixed(b"paddington1 " + label.encode()) + prefixed(context)
    block, result = b"", b""
    for counter in range(1, 256):
        if len(result) >= length:
            break
        block = hmac.digest(prk, block + info + bytes([counter]), "sha512")
        result += block
    return result[:length]


def seal_inner(key: bytes, number: int, associated: bytes, message: bytes) -> bytes:
    """`SealX`: XChaCha20-Poly1305 with a counted nonce."""
    nonce = bytes(16) + u64(number)
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(message, associated, nonce, key)


def unseal_inner(key: bytes, number: int, associated: bytes, sealed: bytes) -> bytes:
    """`OpenX`, the reverse of `seal_inner`; fails with Refused."""
    nonce = bytes(16) + u64(number)
    if len(sealed) < TAG:
        raise Refused("too short to be sealed")
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except CryptoError:
        raise Refused("does not open") from None


def seal_outer(key: bytes, number: int, associated: bytes, message: bytes) -> bytes:
    """`SealG`: AES-256-GCM with a counted nonce."""
    return AESGCM(key).encrypt(bytes(4) + u64(number), message, associated)


def unseal_outer(key: bytes, number: int, associated: bytes, sealed: bytes) -> bytes:
    """`OpenG`, the reverse of `seal_outer`; fails with Refused."""
    if len(sealed) < TAG:
        raise Refused("too short to be sealed")
    try:
        return AESGCM(key).decrypt(bytes(4) + u64(number), sealed, associated)
    except InvalidTag:
        raise Refused("does not open") from None


def passphrase_key(passphrase: str, salt: bytes, iterations: int, memory: int) -> bytes:
    """Returns the 32 bytes that Argon2id (RFC 9106) makes of a passphrase; `memory` is in KiB."""
    kdf = Argon2id(salt=salt, length=32, iterations=iterations, lanes=1, memory_cost=memory)
    return kdf.derive(passphrase.encode())


@dataclass(frozen=True)
class LinkKeys:
    """The secrets that server and client of a link share before they connect: `h0`, `pi`, `po`."""

    h0: bytes
    inner: bytes = field(repr=False)
    outer: bytes = field(repr=False)

    @staticmethod
    def of(server: str, client: str, inner_key: bytes, outer_key: bytes) -> "LinkKeys":
        """Derives the keys of the link between two services."""
        names = prefixed(server.encode()) + prefixed(client.encode())
        h0 = digest(prefixed(PROTOCOL) + names)
        return LinkKeys(h0, extract(h0, inner_key), extract(h0, outer_key))

    def identity(self) -> bytes:
        """Returns the identity of the link of which these are the first keys (§1.4)."""
        return derive(self.outer, "link", b"", 16)
