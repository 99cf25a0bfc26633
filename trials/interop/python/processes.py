"""Processes of `example-echo`, and the functions that the live checks share."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from paddington.invitation import Invitation

HOST = "127.0.0.1"
PATIENCE = 20.0


class Failed(Exception):
    """The failure of a check."""


def expect(holds: bool, what: str) -> None:
    """Fails unless a condition holds."""
    if not holds:
        raise Failed(what)


async def eventually(holds: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Waits until a condition holds."""
    try:
        async with asyncio.timeout(within):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise Failed(f"{what}: not within {within} s") from None


def free_port() -> int:
    """Returns a port that is not in use."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Returns whether a port is listened on."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Echo:
    """One process of `example-echo`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def exits(self) -> None:
        """Waits until it ends by itself, with 0."""
        try:
            async with asyncio.timeout(PATIENCE):
                code = await self._process.wait()
        except TimeoutError:
            raise Failed("example-echo does not end") from None
        expect(code == 0, f"example-echo exited with {code}")

    async def kill(self) -> None:
        """Ends it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Folder:
    """The folder of the processes of one check."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        # Made of examples/echo/examples/interop.rs.
        self._interop = program.parent / "examples" / "interop"

    def file(self, name: str) -> Path:
        """Returns the path of a file in it."""
        return self._folder / name

    def said(self, name: str) -> str:
        """Returns all that a process has printed so far."""
        return self.file(f"{name}.log").read_text()

    def log(self) -> str:
        """Returns the last lines that the processes printed."""
        logs = (path.read_bytes()[-2000:] for path in sorted(self._folder.glob("*.log")))
        return "\n".join(log.decode(errors="replace") for log in logs)

    async def _start(
        self, name: str, *arguments: str, quiet: bool = False, program: Path | None = None
    ) -> Echo:
        path = Path(os.devnull) if quiet else self.file(f"{name}.log")
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program or self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return Echo(process)

    @asynccontextmanager
    async def server(self, count: int) -> AsyncIterator[tuple[Echo, Invitation]]:
        """Runs an `example-echo server`, and returns it with its invitation."""
        port = free_port()
        path = self.file(f"{port}.toml")
        url = f"ws://{HOST}:{port}/"
        where = ("--port", str(port), "--url", url, "--invitation", str(path))
        echo = await self._start(f"server-{port}", "server", *where, "--count", str(count))
        try:
            await eventually(path.exists, "example-echo writes an invitation")
            await eventually(lambda: listens(port), "example-echo listens")
            yield echo, Invitation.read(path)
        finally:
            await echo.kill()

    async def ask(self, invitation: Path, number: str, timeout: float = 10.0) -> tuple[int, str]:
        """Runs an `example-echo ask`, and returns its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *("ask", "--invitation", str(invitation), "--timeout", str(timeout), number),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, printed.decode()

    @asynccontextmanager
    async def client(self, invitation: Path, name: str, quiet: bool = False) -> AsyncIterator[Echo]:
        """Runs an `example-echo client`."""
        echo = await self._start(name, "client", "--invitation", str(invitation), quiet=quiet)
        try:
            yield echo
        finally:
            await echo.kill()

    @asynccontextmanager
    async def interop_server(self) -> AsyncIterator[Invitation]:
        """Runs an `interop server`, and returns its invitation."""
        port = free_port()
        path = self.file(f"{port}.toml")
        arguments = ("server", str(port), str(path))
        interop = await self._start(f"interop-{port}", *arguments, program=self._interop)
        try:
            await eventually(path.exists, "interop writes an invitation")
            await eventually(lambda: listens(port), "interop listens")
            yield Invitation.read(path)
        finally:
            await interop.kill()

    @asynccontextmanager
    async def interop_client(self, invitation: Path) -> AsyncIterator[None]:
        """Runs an `interop client`."""
        arguments = ("client", str(invitation))
        interop = await self._start("interop", *arguments, program=self._interop)
        try:
            yield
        finally:
            await interop.kill()
