"""X-Wing (draft-connolly-cfrg-xwing-kem-10): ML-KEM-768 and X25519 as one KEM."""

import hashlib

from kyber_py.ml_kem import ML_KEM_768  # type: ignore[import-untyped]
from nacl import bindings
from nacl.exceptions import CryptoError

from .keys import Refused

SEED, ENCAPSULATION_SEED, EK, CT = 32, 64, 1216, 1120
ML_KEM_EK, ML_KEM_CT = 1184, 1088
LABEL = rb"\.//^" + b"\\"


def _expand(seed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns the keys of a seed: the public and the secret one of ML-KEM, then those of X25519."""
    expanded = hashlib.shake_256(seed).digest(96)
    ml_kem_ek, ml_kem_dk = ML_KEM_768.key_derive(expanded[:64])
    secret = expanded[64:]
    return ml_kem_ek, ml_kem_dk, bindings.crypto_scalarmult_base(secret), secret


def _combine(ml_kem: bytes, x25519: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return hashlib.sha3_256(ml_kem + x25519 + ephemeral + public + LABEL).digest()


def encapsulation_key(seed: bytes) -> bytes:
    """Returns the encapsulation key of a seed."""
    ml_kem_ek, _, public, _ = _expand(seed)
    return ml_kem_ek + public


def encapsulate(ek: bytes, seed: bytes) -> tuple[bytes, bytes]:
    """Encapsulates to a key, which is checked (FIPS 203 §7.2). Returns ciphertext and secret."""
    ml_kem_ek, public = ek[:ML_KEM_EK], ek[ML_KEM_EK:]
    try:
        ml_kem, ml_kem_ct = ML_KEM_768._encaps_internal(ml_kem_ek, seed[:32])
        ephemeral = bindings.crypto_scalarmult_base(seed[32:])
        x25519 = bindings.crypto_scalarmult(seed[32:], public)
    except (ValueError, CryptoError):
        raise Refused("the encapsulation key is not valid") from None
    return ml_kem_ct + ephemeral, _combine(ml_kem, x25519, ephemeral, public)


def decapsulate(seed: bytes, ct: bytes) -> bytes:
    """Returns the shared secret of a ciphertext, by the seed."""
    _, ml_kem_dk, public, secret = _expand(seed)
    ml_kem_ct, ephemeral = ct[:ML_KEM_CT], ct[ML_KEM_CT:]
    try:
        ml_kem = ML_KEM_768.decaps(ml_kem_dk, ml_kem_ct)
        x25519 = bindings.crypto_scalarmult(secret, ephemeral)
    except (ValueError, CryptoError):
        raise Refused("the ciphertext is not valid") from None
    return _combine(ml_kem, x25519, ephemeral, public)
