"""The generations of a link's keys (§1.4, §3.6): the list that a side keeps, and each change of it. It
stores nothing; each change returns a new list."""

from dataclasses import dataclass, field, replace
from typing import Any

from .invitation import Invitation
from .keys import LinkKeys

MAX_GENERATIONS, MAX_BURNED = 3, 2
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Generation:
    """One pair of keys of a link. Times are seconds since 1970, by the clock of this side."""

    number: int
    inner_key: bytes = field(repr=False)
    outer_key: bytes = field(repr=False)
    handed_over: bool = False
    used: bool = False
    made: float = 0.0
    # For keys that are not used, and for those that a newer invitation is to replace.
    expires: float | None = None
    replaced: float | None = None

    def is_expired(self, now: float) -> bool:
        """Returns whether its time is over."""
        unused = self.expires is not None and not self.used and now >= self.expires
        return unused or (self.replaced is not None and now >= self.replaced)


@dataclass(frozen=True)
class Ring:
    """The generations that one side keeps of a link, oldest first."""

    server: str
    client: str
    link: bytes
    is_server: bool
    generations: tuple[Generation, ...]
    highest: int = 0
    # The invitation that was taken up last.
    invitation: bytes = b""
    # `po` of the last keys that were removed.
    burned: tuple[bytes, ...] = field(default=(), repr=False)

    @staticmethod
    def begin(
        invitation: Invitation, is_server: bool, now: float, valid: float | None = 7 * DAY
    ) -> "Ring":
        """The list of a link that has only been invited."""
        expires = now + valid if is_server and valid is not None else None
        first = Generation(
            invitation.generation,
            invitation.inner_key,
            invitation.outer_key,
            handed_over=True,
            made=now,
            expires=expires,
        )
        names = invitation.server, invitation.client
        link, number = invitation.identity(), invitation.generation
        return Ring(*names, link, is_server, (first,), number, invitation.fingerprint())

    def get(self, number: int) -> Generation | None:
        """Returns the generation with this number, if it is kept."""
        return next((g for g in self.generations if g.number == number), None)

    def all_keys(self) -> set[bytes]:
        """Returns the keys of all generations."""
        return {key for g in self.generations for key in (g.inner_key, g.outer_key)}

    def keys(self, generation: Generation) -> LinkKeys:
        """Returns the secrets that follow from a generation."""
        pair = generation.inner_key, generation.outer_key
        return LinkKeys.of(self.server, self.client, *pair)

    def waits(self, base: int, now: float) -> bool:
        """Returns whether handed-over keys wait to be used, beside those of a session."""
        return any(
            g.handed_over and not g.used and g.number != base and not g.is_expired(now)
            for g in self.generations
        )

    def waiting(self, base: int) -> int | None:
        """Returns the number of the keys that were agreed on and wait to be used, beside those of a
        session."""
        waiting = (g for g in self.generations if not g.handed_over and not g.used)
        return next((g.number for g in waiting if g.number != base), None)

    def valid(self, now: float) -> list[Generation]:
        """Returns the generations that open a HELLO."""
        return [g for g in self.generations if not self.is_server or not g.is_expired(now)]

    def refused(self, now: float) -> list[bytes]:
        """Returns `po` of the keys whose use is an alarm: burned, or expired."""
        expired = [g for g in self.generations if g not in self.valid(now)]
        return [*self.burned, *(self.keys(g).outer for g in expired)]

    def without_expired(self, now: float) -> "Ring":
        """What is expired is burned."""
        return self._keep(self.valid(now))

    def _keep(self, kept: list[Generation]) -> "Ring":
        """Keeps only these. A server burns the others, except for keys that were agreed on and never
        used: nobody can have stolen them with an invitation, and a client may have them honestly."""
        burned = self.burned
        if self.is_server:
            numbers = {g.number for g in kept}
            gone = [g for g in self.generations if g.number not in numbers]
            told = [self.keys(g).outer for g in gone if g.handed_over or g.used]
            burned = (*burned, *told)[-MAX_BURNED:]
        return replace(self, generations=tuple(kept), burned=burned)

    def _from(self, number: int) -> list[Generation]:
        """Returns a generation and those that are newer; all, if it is not kept."""
        numbers = [g.number for g in self.generations]
        at = numbers.index(number) if number in numbers else 0
        return list(self.generations[at:])

    def _with(self, kept: list[Generation], at: int, new: Generation) -> "Ring":
        """Keeps only these, and a new one at a place among them."""
        kept = [*kept[:at], new, *kept[at:]]
        kept = [g for g in kept if g is new or g.number != new.number]
        return replace(self._keep(kept), highest=max(self.highest, new.number))

    def after_use(self, number: int) -> "Ring":
        """A READY has opened with this generation: older ones go."""
        kept = self._from(number)
        return self._keep([replace(g, used=True) if g.number == number else g for g in kept])

    def confirmed(self, number: int) -> "Ring":
        """RENEWED has come in a session whose keys were handed over: they are burned."""
        return self._keep(self._from(number))

    def agreed(self, base: int, new: Generation) -> "Ring":
        """The server's list with the keys that it is about to send in a RENEW: behind the generation
        that both have for certain, in place of what was agreed on and not used."""
        kept = [g for g in self._from(base) if g.number == base]
        ring = self._with(kept + self._waiting(base), len(kept), new)
        # Where an invitation opened the session, it may be a thief who has said to have no others.
        told = [
            self.keys(g).outer
            for g in self.generations
            if kept and kept[0].handed_over and g.number == self.waiting(base)
        ]
        return replace(ring, burned=(*ring.burned, *told)[-MAX_BURNED:])

    def taken(self, base: int, new: Generation) -> "Ring":
        """The client's list with the keys of a RENEW: in place of handed-over ones."""
        kept = [g for g in self._from(base) if g.number == base and not g.handed_over]
        return self._with(kept + self._waiting(base), len(kept), new)

    def fallen_back(self, base: int) -> "Ring":
        """The client's list without the keys that it has agreed on and fallen back from."""
        return self._keep([g for g in self.generations if g.number != self.waiting(base)])

    def _waiting(self, base: int) -> list[Generation]:
        unused = [g for g in self._from(base) if g.handed_over and not g.used]
        return [g for g in unused if g.number != base]

    def invited(self, new: Generation, now: float, overlap: float = DAY) -> "Ring":
        """The server's list with the keys of a new invitation, which are to replace all others."""
        until = now + overlap
        kept = [
            replace(g, replaced=until if g.replaced is None else g.replaced)
            for g in self._with_room()
        ]
        return self._with(kept, len(kept), new)

    def _with_room(self) -> list[Generation]:
        """Returns the generations beside which there is room for another handed-over one."""
        if len(self.generations) < MAX_GENERATIONS:
            return list(self.generations)
        kept = [g for g in self.generations if g.used or not g.handed_over]
        return kept[-MAX_GENERATIONS + 1 :]

    def with_invitation(self, invitation: Invitation, now: float) -> "Ring":
        """The client's list with a newer invitation. One of another link begins anew; the one that was
        taken up last changes nothing."""
        new = Ring.begin(invitation, self.is_server, now)
        if new.link != self.link:
            return new
        if new.invitation == self.invitation:
            return self
        kept = self._with_room()
        ring = self._with(kept, len(kept), new.generations[0])
        return replace(ring, invitation=new.invitation)

    def to_table(self) -> dict[str, Any]:
        """Returns it as JSON knows it."""
        return {
            "version": 1,
            "role": "server" if self.is_server else "client",
            "server": self.server,
            "client": self.client,
            "link": self.link.hex(),
            "highest": self.highest,
            "invitation": self.invitation.hex(),
            "generations": [
                {
                    "number": g.number,
                    "inner_key": g.inner_key.hex(),
                    "outer_key": g.outer_key.hex(),
                    "handed_over": g.handed_over,
                    "used": g.used,
                    "made": g.made,
                    "expires": g.expires,
                    "replaced": g.replaced,
                }
                for g in self.generations
            ],
            "burned": [outer.hex() for outer in self.burned],
        }

    @staticmethod
    def from_table(table: dict[str, Any]) -> "Ring":
        """Reads it; fails with ValueError."""
        try:
            if table["version"] != 1 or table["role"] not in ("server", "client"):
                raise ValueError("a file of keys of another version")
            generations = tuple(
                Generation(
                    int(entry["number"]),
                    bytes.fromhex(entry["inner_key"]),
                    bytes.fromhex(entry["outer_key"]),
                    bool(entry["handed_over"]),
                    bool(entry["used"]),
                    float(entry["made"]),
                    entry["expires"],
                    entry["replaced"],
                )
                for entry in table["generations"]
            )
            return Ring(
                table["server"],
                table["client"],
                bytes.fromhex(table["link"]),
                table["role"] == "server",
                generations,
                table["highest"],
                bytes.fromhex(table["invitation"]),
                tuple(bytes.fromhex(outer) for outer in table["burned"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no file of keys: {error}") from None
