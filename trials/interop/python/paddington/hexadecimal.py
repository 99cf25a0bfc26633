"""The envelopes of the `hex` encoding (§11.1): enough to check its vectors, not to speak it."""

import json
from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError

from .keys import Refused

NONCE = 24


def _encode(key: bytes, nonce: bytes, value: Any) -> str:
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, None, nonce, key)
    return (nonce + sealed).hex()


def _decode(key: bytes, text: str) -> Any:
    try:
        data = bytes.fromhex(text)
        plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            data[NONCE:], None, data[:NONCE], key
        )
        return json.loads(plain)
    except (ValueError, TypeError, CryptoError):
        raise Refused("does not open") from None


def envelope(value: Any, inner: bytes, outer: bytes, nonces: tuple[bytes, bytes]) -> str:
    """Seals `env` with the inner nonce and the outer one."""
    return _encode(outer, nonces[1], _encode(inner, nonces[0], value))


def open_envelope(text: str, inner: bytes, outer: bytes) -> Any:
    """Opens an envelope; fails with Refused."""
    return _decode(inner, _decode(outer, text))
