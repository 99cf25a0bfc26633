"""The list of a link's generations (§3.6), and each change of it."""

import unittest
from dataclasses import replace
from typing import Any

from paddington.generations import DAY, Generation, Ring

from .test_crashes import INVITATION, numbers


def made(number: int, handed_over: bool = False, expires: float | None = None) -> Generation:
    """New keys."""
    keys = bytes([number + 10]) * 32, bytes([number + 100]) * 32
    return Generation(number, *keys, handed_over=handed_over, expires=expires)


class Lists(unittest.TestCase):
    """The changes of a list."""

    def setUp(self) -> None:
        self.server = Ring.begin(INVITATION, True, 0.0)
        self.client = Ring.begin(INVITATION, False, 0.0)

    def joined(self) -> tuple[Ring, Ring]:
        """Both lists after the first renewal."""
        one = made(1)
        server = self.server.agreed(0, one).confirmed(1).after_use(1)
        return server, self.client.taken(0, one).after_use(1)

    def test_an_invitation_expires_unless_it_is_used(self) -> None:
        outer = INVITATION.keys().outer
        self.assertEqual(len(self.server.valid(7 * DAY - 1)), 1)
        self.assertEqual(self.server.valid(7 * DAY), [])
        self.assertEqual(self.server.refused(7 * DAY), [outer])
        self.assertEqual(self.server.without_expired(7 * DAY).burned, (outer,))
        self.assertEqual(len(self.server.after_use(0).valid(8 * DAY)), 1)
        never = Ring.begin(INVITATION, True, 0.0, None)
        self.assertEqual(len(never.valid(1e12)), 1)
        self.assertEqual(len(self.client.valid(1e12)), 1)

    def test_burned_are_the_last_two_and_nothing_that_was_never_used(self) -> None:
        server, _ = self.joined()
        self.assertEqual(server.burned, (INVITATION.keys().outer,))
        for number in range(2, 6):
            server = server.agreed(1, made(number))
        self.assertEqual(server.burned, (INVITATION.keys().outer,))
        self.assertEqual(numbers(server), [1, 5])
        server = server.after_use(5)
        server = server.agreed(5, made(6)).after_use(6)
        self.assertEqual(len(server.burned), 2)
        self.assertNotIn(INVITATION.keys().outer, server.burned)

    def test_a_new_invitation_replaces_the_keys_after_a_day_or_when_it_is_used(self) -> None:
        server, client = self.joined()
        new = made(2, handed_over=True, expires=8 * DAY)
        invited = server.invited(new, DAY)
        self.assertEqual([g.number for g in invited.valid(2 * DAY - 1)], [1, 2])
        self.assertEqual([g.number for g in invited.valid(2 * DAY)], [2])
        self.assertTrue(invited.waits(1, DAY))
        self.assertEqual([g.number for g in invited.after_use(1).valid(2 * DAY)], [2])
        self.assertEqual(numbers(invited.after_use(2)), [2])
        file = replace(INVITATION, inner_key=new.inner_key, outer_key=new.outer_key)
        file = replace(file, link=client.link, generation=2)
        taken = client.with_invitation(file, DAY)
        self.assertEqual(numbers(taken), [1, 2])
        self.assertEqual(taken.with_invitation(file, DAY), taken)
        later = taken.after_use(2).taken(2, made(3)).after_use(3)
        self.assertEqual(later.with_invitation(file, DAY), later)

    def test_an_invitation_that_was_taken_up_is_no_news(self) -> None:
        _, client = self.joined()
        self.assertEqual(client.with_invitation(INVITATION, DAY), client)

    def test_an_invitation_without_a_link_begins_another_link(self) -> None:
        _, client = self.joined()
        other = replace(INVITATION, inner_key=bytes([9]) * 32, outer_key=bytes([8]) * 32)
        begun = client.with_invitation(other, DAY)
        self.assertNotEqual(begun.link, client.link)
        self.assertEqual(numbers(begun), [0])

    def test_there_are_three_at_most(self) -> None:
        server, client = self.joined()
        server = server.agreed(1, made(2))
        client = client.taken(1, made(2))
        for number in range(3, 7):
            server = server.invited(made(number, handed_over=True), DAY)
            file = replace(INVITATION, link=client.link, generation=number)
            file = replace(file, inner_key=bytes([50]) * 32, outer_key=bytes([number]) * 32)
            client = client.with_invitation(file, DAY)
            self.assertEqual(numbers(server), [1, 2, number])
            self.assertEqual(numbers(client), [1, 2, number])

    def test_a_renewal_leaves_an_invitation_that_waits(self) -> None:
        _, client = self.joined()
        file = replace(INVITATION, link=client.link, generation=3)
        file = replace(file, inner_key=bytes([7]) * 32, outer_key=bytes([50]) * 32)
        client = client.with_invitation(file, DAY).taken(1, made(2))
        self.assertEqual(numbers(client), [1, 2, 3])

    def test_the_identity_stays(self) -> None:
        server, client = self.joined()
        self.assertEqual(server.link, INVITATION.keys().identity())
        self.assertEqual(client.link, server.link)

    def test_a_list_comes_back_from_its_table(self) -> None:
        for ring in (self.server, *self.joined()):
            self.assertEqual(Ring.from_table(ring.to_table()), ring)
        tables: list[Any] = [{}, {"version": 2}, [], self.server.to_table() | {"generations": [1]}]
        for table in tables:
            self.assertRaises(ValueError, Ring.from_table, table)


if __name__ == "__main__":
    unittest.main()
