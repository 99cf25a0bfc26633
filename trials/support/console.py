"""Reads the commands of a page with what they print, and compares.

In what is expected, `[..]` stands for anything within a line, and a line `...` for any number of lines.
Commands that only look are repeated for a while until they say what is expected.
"""

import re
import time

# Commands that change nothing, so that they can be repeated.
LOOKS = re.compile(
    r"paddington (-\S+ \S+ )?(status|show|peers|outbox list|dead-letters list|doctor|check)\b|^curl |psql .*\"SELECT "
)
PATIENCE = 20.0


class Step:
    """One command on one host, and what it prints."""

    def __init__(self, line, host, command):
        self.line, self.host, self.command, self.expected = line, host, command, []


def steps(text, hosts):
    """Reads the commands of all console blocks, at the prompts of these hosts."""
    found, inside, end = [], False, None
    for number, line in enumerate(text.splitlines(), 1):
        if not inside:
            inside = line.startswith("```console")
            continue
        if end is not None:
            found[-1].command += "\n" + line
            end = None if line == end else end
            continue
        if line.startswith("```"):
            inside = False
            continue
        prompt = re.match(r"(\w+)\$ (.*)", line)
        if prompt and prompt[1] in hosts:
            found.append(Step(number, prompt[1], prompt[2]))
            here = re.search(r"<<'(\w+)'", prompt[2])
            end = here[1] if here else None
        elif found and found[-1].command.endswith("\\"):
            found[-1].command = found[-1].command[:-1] + line.strip()
        else:
            found[-1].expected.append(line)
    return found


def matches(expected, printed):
    """Tells whether the lines are what is expected."""
    if not expected:
        return not printed
    if expected[0] == "...":
        return any(matches(expected[1:], printed[at:]) for at in range(len(printed) + 1))
    pattern = ".*".join(re.escape(part) for part in expected[0].rstrip().split("[..]"))
    return bool(printed) and bool(re.fullmatch(pattern, printed[0].rstrip())) and matches(expected[1:], printed[1:])


def carry_out(hosts, step):
    """Carries out a step; returns what is wrong with it."""
    expected = [hosts.here(line) for line in step.expected]
    deadline = time.monotonic() + PATIENCE
    while True:
        printed = hosts.run(step)
        if matches(expected, printed):
            return None
        if not LOOKS.search(step.command) or time.monotonic() > deadline:
            return "\n".join(["expected", *expected, "printed", *printed])
        time.sleep(0.1)
