"""Buckets: the groups of clients among which a server looks for one (§1.3), named in the query of the
URL of an invitation (§1.1)."""

import random
import re
import secrets
from collections import Counter
from urllib.parse import urlsplit

COUNT, CLIENTS = 4096, 32
DIGITS = re.compile(r"[0-9a-f]{3}")


def of_query(query: str) -> int | None:
    """Returns the bucket that a query names; None if it names none, two, or something else."""
    values = [part.partition("=")[2] for part in query.split("&") if part.partition("=")[0] == "b"]
    if len(values) != 1 or not DIGITS.fullmatch(values[0]):
        return None
    return int(values[0], 16)


def of_url(url: str) -> int | None:
    """Returns the bucket that a URL names."""
    return of_query(urlsplit(url).query)


def with_bucket(url: str, bucket: int) -> str:
    """Returns a URL with a bucket in its query, and no other."""
    parts = urlsplit(url)
    others = [part for part in parts.query.split("&") if part and part.partition("=")[0] != "b"]
    return parts._replace(query="&".join([*others, f"b={bucket:03x}"])).geturl()


def choose(taken: Counter[int]) -> int:
    """Returns the bucket for a new client, where others have taken theirs."""
    if not taken:
        return 0
    not_full = [bucket for bucket, clients in taken.items() if clients < CLIENTS]
    if not_full:
        return min(not_full, key=lambda bucket: taken[bucket])
    unused = [bucket for bucket in range(COUNT) if bucket not in taken]
    return random.choice(unused) if unused else secrets.randbelow(COUNT)
