"""What every command shares at the door: exit codes, one-line errors, signals, progress."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from geoseg.console import Progress, warn
from geoseg.errors import GeosegError, GeosegWarning, OutputError, OutputExistsError, without_secrets
from geoseg.interrupts import Interrupts
from geoseg.io.limits import block_cache_mb, spare_files
from geoseg.model.blocks import share_one_arena

SOME_FAILED_EXIT = 3
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EROFS, errno.EPERM}


class Door(click.Group):
    """The command group that turns errors and signals into one line and the documented exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; every way out goes through here."""
        # GDAL's block cache takes 5 % of memory in every process unless told; workers inherit this.
        os.environ.setdefault("GDAL_CACHEMAX", str(block_cache_mb()))
        # A VRT of 5000 files holds 100 of them open unless told.
        os.environ.setdefault("GDAL_MAX_DATASET_POOL_SIZE", str(min(100, spare_files())))
        share_one_arena()
        warnings.showwarning = _one_line
        with Interrupts() as interrupts:
            try:
                return super().invoke(ctx)
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (bugs are raised again)
                # Asked first: what a signal raises inside a callback of a C library comes out as some other error.
                if interrupts.asked:
                    return _leave(*interrupts.tell())
                return _tell(error)


def _tell(error: BaseException) -> NoReturn:
    """One line for what a user can mend; anything else goes on as a bug."""
    if isinstance(error, GeosegError):
        _fail(error, error.exit_code)
    if isinstance(error, BrokenPipeError):  # nobody reads on: no reason to complain, nobody to complain to
        sys.stderr.close()
        sys.exit(0)
    if isinstance(error, OSError) and error.errno in _FULL:
        _fail(OutputError(f"no room to write {error.filename or 'the output'}: {error.strerror}."), 74)
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
        _fail(OutputExistsError(f"may not write {error.filename}: {error.strerror}."), 73)
    raise error


def debugging() -> bool:
    """True when the command was called with --debug."""
    return "--debug" in sys.argv


def one_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


def _fail(error: GeosegError, code: int) -> NoReturn:
    if debugging():
        traceback.print_exc()
    _leave(code, one_line(error))


def _leave(code: int, text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(code)


def _one_line(message: Warning | str, category: type[Warning], *_where: Any, **_more: Any) -> None:
    """Warnings of geoseg without file and line; those of libraries only with --debug."""
    if issubclass(category, GeosegWarning) or debugging():
        warn(str(message))


class Bar:
    """Draws a story's progress on standard error and its warnings once each."""

    def __init__(self, *, quiet: bool, label: str = "segment") -> None:
        self.quiet = quiet
        self._label = label
        self._progress: Progress | None = None
        self._said: set[str] = set()

    def start(self, tiles: int, pixels: int) -> None:
        """Show the bar."""
        self._progress = Progress(tiles, pixels, label=self._label, quiet=self.quiet)
        self._progress.__enter__()

    def advance(self, pixels: int) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.advance(pixels)

    def note(self, text: str) -> None:
        """A plain line."""
        text = without_secrets(text)
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """A warning on its own line, once."""
        text = without_secrets(text)
        if text not in self._said:
            self._said.add(text)
            warn(text)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None


def show(data: Callable[[], dict[str, Any]], lines: Callable[[], list[str]], *, as_json: bool) -> None:
    """A result on standard output: JSON for machines or lines for people."""
    text = json.dumps(data(), indent=2, ensure_ascii=False, default=_plain) if as_json else "\n".join(lines())
    click.echo(without_secrets(text))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)
