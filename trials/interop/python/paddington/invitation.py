"""The invitation as a file (§1.1)."""

import os
import re
import secrets
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from .keys import LinkKeys

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGITS = re.compile(r"[0-9a-f]{64}")

TEXT = """\
name = "{server}"
url = "{url}"
client = "{client}"
encoding = "sealed"
version = 1

[inner_key]
data = "{inner}"

[outer_key]
data = "{outer}"
"""


@dataclass(frozen=True)
class Invitation:
    """The invitation that a client is given before it connects."""

    server: str
    url: str
    client: str
    inner_key: bytes = field(repr=False)
    outer_key: bytes = field(repr=False)

    @staticmethod
    def draw(server: str, url: str, client: str) -> "Invitation":
        """Makes an invitation with new keys."""
        return Invitation(server, url, client, secrets.token_bytes(32), secrets.token_bytes(32))

    @staticmethod
    def read(path: Path) -> "Invitation":
        """Reads a file; fails with ValueError if it is not a sealed invitation."""
        table = tomllib.loads(path.read_text())
        try:
            names = table["name"], table["client"]
            keys = table["inner_key"]["data"], table["outer_key"]["data"]
            pinned = table.get("encoding", "hex"), table.get("version")
            url = str(table["url"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a sealed invitation: {error} is missing") from None
        if pinned != ("sealed", 1):
            raise ValueError(f"{path}: the encoding {pinned} is not known here")
        if not all(NAME.fullmatch(name) for name in names):
            raise ValueError(f"{path}: a name is not valid")
        if not all(DIGITS.fullmatch(key) and int(key, 16) for key in keys) or keys[0] == keys[1]:
            raise ValueError(f"{path}: a key is not valid")
        return Invitation(names[0], url, names[1], bytes.fromhex(keys[0]), bytes.fromhex(keys[1]))

    def write(self, path: Path) -> None:
        """Writes a file that does not exist yet, readable by its owner alone."""
        text = TEXT.format(
            server=self.server,
            url=self.url,
            client=self.client,
            inner=self.inner_key.hex(),
            outer=self.outer_key.hex(),
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def keys(self) -> LinkKeys:
        """Returns the keys of the link."""
        return LinkKeys.of(self.server, self.client, self.inner_key, self.outer_key)
