"""The real command line in processes that are born with everything imported: a run takes one second, not ten.

They are forked from a server which has imported the libraries and done nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Done

PATIENCE_S = 120


@dataclass(frozen=True)
class Running:
    """A command under way."""

    process: BaseProcess
    err: Connection

    def line(self) -> str:
        """The next line that it says on standard error; empty at the end. `end` gives those that follow."""
        said = b""
        while not said.endswith(b"\n") and (byte := os.read(self.err.fileno(), 1)):
            said += byte
        return said.decode()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def end(self) -> Done:
        """How it ended: exit code, negative the signal that killed it; what it said on standard error."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, f"still running after {PATIENCE_S} s"
        said = b""
        while part := os.read(self.err.fileno(), 2**16):
            said += part
        return Done(self.process.exitcode, "", said.decode())


class Forked:
    """Starts commands."""

    def __init__(self) -> None:
        from multiprocessing import forkserver  # not on Windows

        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["fork_preload"])
        with pytest.MonkeyPatch.context() as patch:
            # The server does not get `sys.path`, and keeps silent about what it cannot import.
            patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
            forkserver.ensure_running()

    def start(self, *args: Any, failpoint: str = "", largest_file: int | None = None) -> Running:
        """Start a command.

        Args:
            args: of the command line.
            failpoint: where it dies.
            largest_file: bytes; a file that grows beyond meets a full disk.
        """
        ear, mouth = self._context.Pipe(duplex=False)
        job = ([str(arg) for arg in args], mouth, failpoint, largest_file)
        process = self._context.Process(target=_command, args=job)
        process.start()
        mouth.close()
        return Running(process, ear)

    def run(self, *args: Any, failpoint: str = "", largest_file: int | None = None) -> Done:
        """Run a command to its end."""
        return self.start(*args, failpoint=failpoint, largest_file=largest_file).end()


def _command(args: list[str], err: Connection, armed: str, largest_file: int | None) -> None:
    from geoseg.cli import main
    from geoseg.io import failpoint

    # A pipe: a file would meet the limit, too. What is said fits into its buffer.
    os.dup2(err.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    err.close()
    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    failpoint._ARMED = armed
    main(args, prog_name="geoseg")
