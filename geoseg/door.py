"""What every command shares at the door: exit codes, one-line errors, signals, progress."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from geoseg import __version__, log
from geoseg.console import Progress, warn
from geoseg.errors import GeosegError, GeosegWarning, OutputError, OutputExistsError, without_secrets
from geoseg.interrupts import Interrupts
from geoseg.io.limits import block_cache_mb, spare_files
from geoseg.log_options import asks_json
from geoseg.model.blocks import share_one_arena

SOME_FAILED_EXIT = 3
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EROFS, errno.EPERM}


class Door(click.Group):
    """The command group that turns errors and signals into one line and the documented exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Begin a call: from its first word on all is said in the form that it asks for."""
        log.configure(as_json=asks_json(args), anew=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; every way out goes through here."""
        # GDAL's block cache takes 5 % of memory in every process unless told; workers inherit this.
        os.environ.setdefault("GDAL_CACHEMAX", str(block_cache_mb()))
        # A VRT of 5000 files holds 100 of them open unless told.
        os.environ.setdefault("GDAL_MAX_DATASET_POOL_SIZE", str(min(100, spare_files())))
        share_one_arena()
        warnings.showwarning = _one_line
        begun = time.monotonic()
        with Interrupts() as interrupts:
            try:
                answer = super().invoke(ctx)
            except SystemExit as leaving:
                _tell_end(leaving.code, begun)
                raise
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (bugs are raised again)
                # Asked first: what a signal raises inside a callback of a C library comes out as some other error.
                if interrupts.asked:
                    return _leave(*interrupts.tell())
                return _tell(error)
        _tell_end(0, begun)
        return answer


def _tell_end(code: object, begun: float) -> None:
    seconds = time.monotonic() - begun
    log.tell(
        "end",
        f"geoseg {__version__} ends with {code} after {seconds:.1f} s",
        logging.INFO if log.style().as_json else logging.DEBUG,
        exit_code=code,
        seconds=round(seconds, 3),
        version=__version__,
    )


def _tell(error: BaseException) -> NoReturn:
    """One line for what a user can mend; anything else goes on as a bug."""
    if log.style().as_json and isinstance(error, click.ClickException):
        _leave(error.exit_code, error.format_message())
    if isinstance(error, GeosegError):
        _fail(error, error.exit_code)
    if isinstance(error, BrokenPipeError):  # nobody reads on: no reason to complain, nobody to complain to
        sys.stderr.close()
        sys.exit(0)
    if isinstance(error, OSError) and error.errno in _FULL:
        _fail(OutputError(f"no room to write {error.filename or 'the output'}: {error.strerror}."), 74)
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
        _fail(OutputExistsError(f"may not write {error.filename}: {error.strerror}."), 73)
    if log.style().as_json and isinstance(error, Exception) and not isinstance(error, click.exceptions.Exit):
        log.tell(
            "error", f"a bug: {type(error).__name__}: {error}", logging.ERROR, exit_code=1, traceback=_trace(error)
        )
        sys.exit(1)
    raise error


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def debugging() -> bool:
    """True when the command was called with --debug."""
    return "--debug" in sys.argv


def one_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


def _fail(error: GeosegError, code: int) -> NoReturn:
    if debugging() and not log.style().as_json:
        traceback.print_exc()
    _leave(code, one_line(error), **({"traceback": _trace(error)} if debugging() else {}))


def tell_error(error: Exception, code: int, **fields: Any) -> None:
    """An error on a line of its own, with its exit code for machines."""
    log.say("error", one_line(error), logging.ERROR, exit_code=code, **fields)


def _leave(code: int, text: str, **fields: Any) -> NoReturn:
    log.say("error", text, logging.ERROR, exit_code=code, **fields)
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
        if not self.quiet:
            log.say("note", text)

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
