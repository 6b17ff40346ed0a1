"""How far a training is: one row an epoch, as a line, a bar, and a table in a file."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Protocol

from geoseg import log
from geoseg.console import DrawnBar, aligned, format_duration, warn


@dataclass(frozen=True)
class EpochRow:
    """One finished epoch."""

    epoch: int
    """Counted from 1."""
    loss: float
    """Mean over the steps."""
    lr: float
    """Learning rate of the last step."""
    mean_iou: float | None
    """On the places set aside; None: not measured after this epoch."""
    seconds: float
    """That it took, with measuring."""

    def text(self, epochs: int) -> str:
        """For people."""
        measured = "" if self.mean_iou is None else f", mean IoU {self.mean_iou:.3f}"
        return f"epoch {self.epoch}/{epochs}, loss {self.loss:.4f}{measured}"


class FitWatcher(Protocol):
    """Told how far a training is."""

    def begin(self, label: str, epochs: int, done: int) -> None:
        """A fit of so many epochs begins, some of which an interrupted run has done."""

    def epoch(self, row: EpochRow) -> None:
        """One more is done."""

    def note(self, text: str) -> None:
        """What was found or decided."""

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the model."""


class Unwatched:
    """A watcher that says nothing."""

    def begin(self, label: str, epochs: int, done: int) -> None:
        """Ignore."""

    def epoch(self, row: EpochRow) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""


class FitProgress:
    """Epochs on standard error: a bar when that is a terminal, else a line each; nothing when `quiet`.

    Args:
        quiet: True = show warnings only.
        stream: where to write; None: `sys.stderr`.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, quiet: bool = False, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quiet, self._given, self._clock = quiet, stream, clock
        self._label, self._epochs, self._done, self._started = "", 0, 0, 0.0
        self._bar: DrawnBar | None = None

    def begin(self, label: str, epochs: int, done: int) -> None:
        """A new bar; the old one stays as it stands."""
        self.close()
        self._label, self._epochs, self._done, self._started = label, epochs, done, self._clock()
        if not self._quiet and self._stream.isatty() and not log.style().in_lines:
            self._bar = DrawnBar(label, epochs, self._stream)
            self._bar.move(done, "")

    def epoch(self, row: EpochRow) -> None:
        """Move the bar, or write the line."""
        here, spent = row.epoch - self._done, self._clock() - self._started
        left = spent / here * (self._epochs - row.epoch)
        said = f"{row.text(self._epochs)}, {format_duration(left)} left"
        if self._bar is not None:
            self._bar.move(row.epoch, said)
        else:
            self._write("progress", f"{self._label}: {said}", stage=self._label, epochs=self._epochs, **asdict(row))

    def note(self, text: str) -> None:
        """A plain line."""
        self._write("note", text)

    def _write(self, event: str, text: str, **fields: Any) -> None:
        if self._quiet:
            return
        if self._given is not None:
            print(text, file=self._given, flush=True)
        else:
            log.say(event, text, **fields)

    def warn(self, text: str) -> None:
        """A warning on a line of its own."""
        warn(text)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @property
    def _stream(self) -> IO[str]:
        # Looked up late: processes of several devices get a copy of this object, but never a stream.
        return self._given or sys.stderr


def write_log(path: Path, fits: Mapping[str, Sequence[EpochRow]]) -> None:
    """All epochs of all fits as CSV: fit, epoch, loss, lr, mean_iou, seconds."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [field.name for field in fields(EpochRow)]
        writer.writerow(["fit", *names])
        for fit, rows in fits.items():
            writer.writerows([fit, *(asdict(row)[name] for name in names)] for row in rows)


def figures_table(figures: Mapping[str, Any]) -> list[str]:
    """Held-out figures for people, one line a class, the whole in the last; see `geoseg.training.score.figures`."""
    head = ("class", "pixels", "IoU", "F1", "user's", "producer's")
    keys = ("iou", "f1", "users_accuracy", "producers_accuracy")
    rows = [
        (name, f"{row['pixels']:,}", *(_ratio(row[key]) for key in keys)) for name, row in figures["classes"].items()
    ]
    whole = f"mean IoU {_ratio(figures['mean_iou'])}, overall accuracy {_ratio(figures['overall_accuracy'])}"
    return [*aligned(head, rows).splitlines(), whole]


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
