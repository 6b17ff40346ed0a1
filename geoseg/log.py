"""What geoseg says while it works: text for people, or JSON lines for machines, on standard error.

Stories and libraries tell events through Python's `logging` (`tell`, `stage`, or a module's own logger below
`geoseg`); the door says how they look (`configure`). A JSON line holds

    time     ISO 8601, UTC                      level    debug, info, warning, error
    run      one word for all lines of a call   event    note, warning, error, progress, stage, tile, start, end, …
    scene    where one is at work               message  the text that people would read

and the event's own fields (`exit_code`, `tile`, `seconds`, …). Addresses lose user names and what follows `?` or `#`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from geoseg.errors import without_secrets

RUN_ID = "GEOSEG_RUN_ID"
"""Environment variable: the word for a call, where a scheduler has one; its processes then share it."""
_LOGGER = logging.getLogger("geoseg")
_PREFIX = {logging.WARNING: "warning: ", logging.ERROR: "error: "}
_about: ContextVar[dict[str, Any] | None] = ContextVar("about", default=None)


@dataclass(frozen=True)
class LogStyle:
    """How events look."""

    as_json: bool = False
    verbose: bool = False
    """True: events that are there for those who look for something are shown, too."""
    run_id: str = field(default_factory=lambda: os.environ.get(RUN_ID) or uuid.uuid4().hex[:12])

    @property
    def in_lines(self) -> bool:
        """True: no bar is drawn, which lines between would tear."""
        return self.as_json or self.verbose


class _StandardError(logging.Handler):
    """Writes to whatever `sys.stderr` is by then."""

    style = LogStyle()

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{line_of(record, self.style)}\n")
        sys.stderr.flush()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or self.style.verbose


_handler = _StandardError()


def configure(*, as_json: bool | None = None, verbose: bool | None = None, anew: bool = False) -> None:
    """Say how events look from now on; None: as before. `anew` begins another call, with the defaults."""
    style = LogStyle() if anew else _handler.style
    style = style if as_json is None else replace(style, as_json=as_json)
    _handler.style = style if verbose is None else replace(style, verbose=verbose)
    _LOGGER.setLevel(logging.DEBUG if _handler.style.verbose else logging.INFO)
    if _handler not in _LOGGER.handlers:
        _LOGGER.addHandler(_handler)


def style() -> LogStyle:
    """How events look now."""
    return _handler.style


def tell(event: str, message: str, level: int = logging.DEBUG, **fields: Any) -> None:
    """Tell an event; what is told without a level is for `-v`.

    Args:
        event: one word.
        message: for people.
        level: of `logging`.
        fields: for machines: whatever JSON can hold.
    """
    _LOGGER.log(level, "%s", message, extra={"geoseg_event": event, "geoseg_fields": (_about.get() or {}) | fields})


def say(event: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Tell an event by the door's own mouth: it is seen even where nobody has configured logging."""
    if _handler not in _LOGGER.handlers:
        configure()
    tell(event, message, level, **fields)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Events in the block carry these fields, too: `about(scene="S2A_…")`."""
    token = _about.set((_about.get() or {}) | fields)
    try:
        yield
    finally:
        _about.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Tell how long the block took, once it is done."""
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    tell("stage", f"{name}: {seconds:.2f} s", stage=name, seconds=round(seconds, 3))


def line_of(record: logging.LogRecord, style: LogStyle) -> str:
    """One event as one line, without secrets."""
    message = " ".join(without_secrets(record.getMessage()).splitlines())
    if not style.as_json:
        return f"{_PREFIX.get(record.levelno, '')}{message}"
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "run": style.run_id,
        "event": getattr(record, "geoseg_event", record.levelname.lower()),
        "message": message,
    }
    fields = {**getattr(record, "geoseg_fields", {})}
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(_plain({**head, **fields}), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """For JSON: texts without secrets, and what it does not know as text."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_secrets(str(value))


def error_line(message: str, exit_code: int) -> str:
    """An error as `say` would tell it, for a thread that may only write."""
    record = _LOGGER.makeRecord(
        _LOGGER.name,
        logging.ERROR,
        "",
        0,
        message,
        (),
        None,
        extra={"geoseg_event": "error", "geoseg_fields": {"exit_code": exit_code}},
    )
    return line_of(record, _handler.style)
