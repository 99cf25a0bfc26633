"""The keys of a link, kept durably by one side (§3.6): one change after the other, each of which holds
from the moment at which it is stored."""

import asyncio
import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .generations import Generation, Ring

log = logging.getLogger("paddington")


class Store(Protocol):
    """The place where the keys of one link are kept."""

    def load(self) -> Ring | None:
        """Returns what was stored last."""

    def replace(self, ring: Ring) -> None:
        """Returns once it is durable, and waits for the disk; fails with OSError."""

    async def save(self, ring: Ring) -> None:
        """The same, while others go on."""


class KeyFile:
    """A file that holds the keys of one link, and is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Ring | None:
        """Reads the file, if it exists; fails with ValueError."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(file) as opened:
            if os.fstat(file).st_mode & 0o077:
                log.warning("%s can be read by others", self._path)
            return Ring.from_table(json.load(opened))

    async def save(self, ring: Ring) -> None:
        """Replaces the file durably, while others go on."""
        await asyncio.to_thread(self.replace, ring)

    def replace(self, ring: Ring) -> None:
        """Replaces the file durably."""
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.draft")
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as opened:
                json.dump(ring.to_table(), opened, indent=1)
                opened.flush()
                os.fsync(opened.fileno())
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Keyring:
    """The generations of a link with the place where they are kept."""

    def __init__(
        self, store: Store, ring: Ring, clock: Callable[[], float] = time.time
    ) -> None:
        self.store, self.ring, self.clock = store, ring, clock
        # Held while something is stored.
        self.lock = asyncio.Lock()

    async def change(self, change: Callable[[Ring], Ring | None]) -> bool:
        """Stores a change, and returns whether it was made and is durable. None changes nothing."""
        async with self.lock:
            new = change(self.ring)
            if new is None:
                return False
            if new != self.ring:
                try:
                    await self.store.save(new)
                except OSError as error:
                    log.error("keys of %s: not stored: %s", new.link.hex(), error)
                    return False
                self.ring = new
            return True

    async def use(self, number: int) -> bool:
        """Notes durably that a generation is used; False if it is not kept any more."""
        return await self.change(lambda ring: ring.after_use(number) if ring.get(number) else None)

    def newest_first(self) -> list[Generation]:
        """Returns the generations as a client tries them."""
        return list(reversed(self.ring.generations))
