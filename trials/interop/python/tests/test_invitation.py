"""The invitation as a file (§1.1): its keys, under a passphrase or not, and the link that it renews."""

import stat
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from paddington.invitation import Invitation

INVITATION = Invitation("hub", "ws://host:1/?b=000", "sensor", bytes([1]) * 32, bytes([2]) * 32)
CHEAP = {"iterations": 1, "memory": 8}


class Files(unittest.TestCase):
    """Invitations that are written and read."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "invitation.toml"

    def changed(self, old: str, new: str) -> Path:
        """The file, in which a part of the text is another one."""
        text = self.path.read_text()
        self.assertEqual(text.count(old), 1, old)
        other = self.path.with_name("other.toml")
        other.write_text(text.replace(old, new))
        return other

    def test_it_comes_back(self) -> None:
        renewing = replace(INVITATION, link=bytes(range(16)), generation=4, expires="2026-12-03T09:30:00Z")
        for invitation in (INVITATION, renewing):
            for passphrase in (None, "correct horse", "é"):
                self.path.unlink(missing_ok=True)
                invitation.write(self.path, passphrase, **CHEAP)
                self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
                self.assertEqual(Invitation.read(self.path, passphrase), invitation)
        self.assertEqual(renewing.identity(), bytes(range(16)))
        self.assertEqual(INVITATION.identity(), INVITATION.keys().identity())

    def test_only_the_passphrase_opens_it(self) -> None:
        INVITATION.write(self.path, "correct horse", **CHEAP)
        for key in (INVITATION.inner_key, INVITATION.outer_key):
            self.assertNotIn(key.hex(), self.path.read_text())
        for passphrase in ("correct house", "", None):
            with self.assertRaisesRegex(ValueError, "passphrase"):
                Invitation.read(self.path, passphrase)

    def test_what_is_not_sealed_takes_no_passphrase(self) -> None:
        INVITATION.write(self.path)
        self.assertRaises(ValueError, Invitation.read, self.path, "correct horse")

    def test_it_is_bound_to_the_names(self) -> None:
        INVITATION.write(self.path, "correct horse", **CHEAP)
        for old, new in (('"hub"', '"hob"'), ('"sensor"', '"censor"')):
            with self.assertRaisesRegex(ValueError, "passphrase"):
                Invitation.read(self.changed(old, new), "correct horse")

    def test_what_cannot_be_sealed_keys_is_refused(self) -> None:
        INVITATION.write(self.path, "correct horse", **CHEAP)
        text = self.path.read_text()
        salt, data = (text.split(f'{name} = "')[1].split('"')[0] for name in ("salt", "data"))
        for old, new in {
            '"argon2id"': '"argon2i"',
            "iterations = 1": "iterations = 65",
            "memory = 8": "memory = 1048577",
            salt: salt[2:],
            data: data[:-2],
            data[:8]: "00000000" if data[:8] != "00000000" else "11111111",
            "[sealed]": "[unsealed]",
            "kdf =": "function =",
            'salt = "': 'salt = "x',
        }.items():
            with self.subTest(old=old[:20]):
                self.assertRaises(
                    ValueError, Invitation.read, self.changed(old, new), "correct horse"
                )
        for old, new in (
            ("iterations = 1", "iterations = 0"),
            ("iterations = 1", "iterations = true"),
            ("memory = 8", "memory = 7"),
        ):
            self.assertRaises(ValueError, Invitation.read, self.changed(old, new), "correct horse")
        twice = self.changed("[sealed]", f'[inner_key]\ndata = "{"01" * 32}"\n\n[sealed]')
        self.assertRaises(ValueError, Invitation.read, twice, "correct horse")

    def test_a_link_and_a_generation_that_are_none_are_refused(self) -> None:
        replace(INVITATION, link=bytes(16), generation=4).write(self.path)
        for old, new in (
            (f'"{"00" * 16}"', f'"{"00" * 15}"'),
            (f'"{"00" * 16}"', f'"{"AB" * 16}"'),
            (f'"{"00" * 16}"', "5"),
            ("generation = 4", "generation = -1"),
            ("generation = 4", 'generation = "4"'),
            ("generation = 4", "generation = true"),
        ):
            self.assertRaises(ValueError, Invitation.read, self.changed(old, new))


if __name__ == "__main__":
    unittest.main()
