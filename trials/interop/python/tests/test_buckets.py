"""The buckets of a server's clients (§1.3), and the query that names one (§1.1, §2)."""

import unittest
from collections import Counter

from paddington.buckets import CLIENTS, COUNT, choose, of_query, of_url, with_bucket


class Buckets(unittest.TestCase):
    """What a query says, and what a server chooses."""

    def test_queries(self) -> None:
        cases = {
            "": None,
            "b": None,
            "b=": None,
            "b=3f2": 0x3F2,
            "x=1&b=000&y": 0,
            "b=3f2&b=3f2": None,
            "b=3F2": None,
            "b=3f": None,
            "b=03f2": None,
            "bb=3f2": None,
        }
        for query, bucket in cases.items():
            self.assertEqual(of_query(query), bucket, query)

    def test_urls(self) -> None:
        self.assertEqual(with_bucket("ws://host:1/p", 10), "ws://host:1/p?b=00a")
        self.assertEqual(with_bucket("ws://host:1/?x=1&b=3f2", 10), "ws://host:1/?x=1&b=00a")
        self.assertEqual(of_url("ws://host:1/?x=1&b=00a"), 10)

    def test_all_but_one_are_full(self) -> None:
        taken: Counter[int] = Counter()
        for _ in range(10 * CLIENTS + 1):
            taken[choose(taken)] += 1
        self.assertEqual(sorted(taken.values()), [1] + [CLIENTS] * 10)
        full = Counter({bucket: CLIENTS for bucket in range(COUNT)})
        self.assertIn(choose(full), full)


if __name__ == "__main__":
    unittest.main()
