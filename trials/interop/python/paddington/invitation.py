"""The invitation as a file (§1.1)."""

import os
import re
import secrets
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .keys import LinkKeys, Refused, passphrase_key, prefixed, seal_inner, unseal_inner

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGITS, LINK = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
EVEN_DIGITS = re.compile(r"([0-9a-fA-F]{2})*")
MAX_ITERATIONS, MIN_MEMORY, MAX_MEMORY, SALT = 64, 8, 1 << 20, 16

HEAD = """\
name = "{server}"
url = "{url}"
client = "{client}"
encoding = "sealed"
version = 1
"""
KEYS = """
[inner_key]
data = "{inner}"

[outer_key]
data = "{outer}"
"""
SEALED = """
[sealed]
kdf = "argon2id"
iterations = {iterations}
memory = {memory}
salt = "{salt}"
data = "{data}"
"""


@dataclass(frozen=True)
class Invitation:
    """The invitation that a client is given before it connects."""

    server: str
    url: str
    client: str
    inner_key: bytes = field(repr=False)
    outer_key: bytes = field(repr=False)
    # Of an invitation that renews the keys of a link: which link.
    link: bytes | None = None
    generation: int = 0
    expires: str | None = None

    @staticmethod
    def draw(server: str, url: str, client: str) -> "Invitation":
        """Makes an invitation with new keys."""
        return Invitation(server, url, client, secrets.token_bytes(32), secrets.token_bytes(32))

    @staticmethod
    def read(path: Path, passphrase: str | None = None) -> "Invitation":
        """Reads a file; fails with ValueError if it is not an invitation of the `sealed` encoding, or
        is under another passphrase."""
        table = tomllib.loads(path.read_text())
        try:
            names = table["name"], table["client"]
            pinned = table.get("encoding", "hex"), table.get("version")
            url = str(table["url"])
            is_sealed = "sealed" in table
            if is_sealed and ("inner_key" in table or "outer_key" in table):
                raise ValueError(f"{path} has its keys twice")
            keys = ("", "") if is_sealed else (table["inner_key"]["data"], table["outer_key"]["data"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a sealed invitation: {error} is missing") from None
        if pinned != ("sealed", 1):
            raise ValueError(f"{path}: the encoding {pinned} is not known here")
        if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
            raise ValueError(f"{path}: a name is not valid")
        link, generation = table.get("link"), table.get("generation", 0)
        if link is not None and not (isinstance(link, str) and LINK.fullmatch(link)):
            raise ValueError(f"{path}: the link is not valid")
        if type(generation) is not int or generation < 0:
            raise ValueError(f"{path}: the generation is not valid")
        if is_sealed:
            keys = _unsealed(path, table["sealed"], passphrase, *names)
        elif passphrase is not None:
            raise ValueError(f"{path} is not sealed with a passphrase")
        if not all(isinstance(key, str) and DIGITS.fullmatch(key) and int(key, 16) for key in keys):
            raise ValueError(f"{path}: a key is not valid")
        if keys[0] == keys[1]:
            raise ValueError(f"{path}: the keys do not differ")
        pair = bytes.fromhex(keys[0]), bytes.fromhex(keys[1])
        known = bytes.fromhex(link) if link is not None else None
        return Invitation(names[0], url, names[1], *pair, known, generation, table.get("expires"))

    def write(
        self, path: Path, passphrase: str | None = None, iterations: int = 3, memory: int = 64 * 1024
    ) -> None:
        """Writes a file that does not exist yet, readable by its owner alone."""
        text = HEAD.format(server=self.server, url=self.url, client=self.client)
        if self.link is not None:
            text += f'link = "{self.link.hex()}"\n'
        text += f"generation = {self.generation}\n" if self.generation else ""
        text += f'expires = "{self.expires}"\n' if self.expires is not None else ""
        if passphrase is None:
            text += KEYS.format(inner=self.inner_key.hex(), outer=self.outer_key.hex())
        else:
            salt = secrets.token_bytes(SALT)
            key = passphrase_key(passphrase, salt, iterations, memory)
            plain = self.inner_key + self.outer_key
            data = seal_inner(key, 0, _names(self.server, self.client), plain)
            cost = {"iterations": iterations, "memory": memory}
            text += SEALED.format(**cost, salt=salt.hex(), data=data.hex())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def keys(self) -> LinkKeys:
        """Returns the keys of the link."""
        return LinkKeys.of(self.server, self.client, self.inner_key, self.outer_key)

    def fingerprint(self) -> bytes:
        """Returns what tells this invitation from others without telling its keys."""
        return self.keys().identity()

    def identity(self) -> bytes:
        """Returns the identity of the link (§1.4)."""
        return self.fingerprint() if self.link is None else self.link


def _names(server: str, client: str) -> bytes:
    return prefixed(server.encode()) + prefixed(client.encode())


def _unsealed(
    path: Path, sealed: Any, passphrase: str | None, server: str, client: str
) -> tuple[str, str]:
    """Opens the table `sealed`, and returns the digits of both keys; fails with ValueError."""
    if passphrase is None:
        raise ValueError(f"{path} is sealed with a passphrase")
    try:
        kdf, iterations, memory = sealed["kdf"], sealed["iterations"], sealed["memory"]
        texts = sealed["salt"], sealed["data"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: the sealed keys lack {error}") from None
    if kdf != "argon2id":
        raise ValueError(f"{path}: the function {kdf} is not known here")
    if type(iterations) is not int or not 1 <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"{path}: {iterations} iterations")
    if type(memory) is not int or not MIN_MEMORY <= memory <= MAX_MEMORY:
        raise ValueError(f"{path}: {memory} KiB of memory")
    if not all(isinstance(text, str) and EVEN_DIGITS.fullmatch(text) for text in texts):
        raise ValueError(f"{path}: the sealed keys are not in hexadecimal digits")
    salt, data = bytes.fromhex(texts[0]), bytes.fromhex(texts[1])
    if len(salt) != SALT:
        raise ValueError(f"{path}: the salt has another length")
    key = passphrase_key(passphrase, salt, iterations, memory)
    try:
        plain = unseal_inner(key, 0, _names(server, client), data)
    except Refused:
        raise ValueError(f"{path}: the passphrase is another one, or the file was changed") from None
    if len(plain) != 64:
        raise ValueError(f"{path}: the sealed keys have another length")
    return plain[:32].hex(), plain[32:].hex()
