"""What a person sees in the terminal: progress, the summary table, warnings.

Progress and warnings go to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import logging
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from geoseg import log

if TYPE_CHECKING:
    from geoseg.tiling.seam import Seam

MOST_LINES = 100
"""Classes that the summary table names."""
PLAIN_STEP = 0.1
"""A plain line is written each time this share of the pixels is done."""


def format_hectares(hectares: float) -> str:
    """An area for people: `12,345`, `12.3`, `0.12` (hectares, without the unit)."""
    decimals = 0 if hectares >= 99.95 or hectares == 0 else 1 if hectares >= 0.995 else 2
    return f"{hectares:,.{decimals}f}"


def format_share(share: float) -> str:
    """A share 0…1 for people: `12.3 %`; what is there but rounds to nothing reads `<0.1 %`."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def format_duration(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def warn(text: str) -> None:
    """One line `warning: …` on standard error."""
    log.say("warning", text, logging.WARNING)


class Progress:
    """Tiles done, Mpx/s and time left, on standard error.

    A rich bar when the stream is a terminal, otherwise a line about every 10 % (a log, a
    scheduler's file), nothing when `quiet`. Use as a context manager; not thread-safe: the coordinator
    alone advances it.

    Args:
        total_tiles: number of tiles that will be reported.
        total_pixels: pixels in all of them.
        label: first word of the line.
        quiet: True = show nothing.
        stream: where to write; None: `sys.stderr`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total_tiles: int,
        total_pixels: int,
        *,
        label: str = "segment",
        quiet: bool = False,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total_tiles = total_tiles
        self.total_pixels = total_pixels
        self.tiles = 0
        self.pixels = 0
        self._label = label
        self._quiet = quiet
        self._given = stream
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._started = clock()
        self._next_line = PLAIN_STEP
        self._bar: DrawnBar | None = None

    def __enter__(self) -> Self:
        self._started = self._clock()
        if not self._quiet and self._stream.isatty() and not log.style().in_lines:
            self._bar = DrawnBar(self._label, self.total_pixels, self._stream)
            self._bar.move(self.pixels, self._details())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, pixels: int) -> None:
        """One more tile is done, with this many pixels."""
        self.tiles += 1
        self.pixels += pixels
        if self._bar is not None:
            self._bar.move(self.pixels, self._details())
        elif not self._quiet and (self._share >= self._next_line - 1e-9 or self.tiles == self.total_tiles):
            self._write()
            self._next_line = (int(self._share / PLAIN_STEP + 1e-9) + 1) * PLAIN_STEP

    def _write(self) -> None:
        if self._given is not None:
            print(self.line(), file=self._given, flush=True)
        else:
            log.say("progress", self.line(), **self.facts())

    def facts(self) -> dict[str, Any]:
        """The present state for machines."""
        elapsed = self._clock() - self._started
        counts = {"tiles": self.total_tiles, "tiles_done": self.tiles}
        pixels = {"pixels": self.total_pixels, "pixels_done": self.pixels, "seconds": round(elapsed, 3)}
        return {"stage": self._label, **counts, **pixels}

    def line(self) -> str:
        """The present state as one plain line."""
        return f"{self._label}: {100 * self._share:.0f} %, {self._details()}"

    @property
    def _share(self) -> float:
        return self.pixels / self.total_pixels if self.total_pixels else 1.0

    def _details(self) -> str:
        elapsed = self._clock() - self._started
        parts = [f"{self.tiles}/{self.total_tiles} tiles"]
        if elapsed > 0 and self.pixels:
            speed = self.pixels / elapsed
            parts.append(f"{speed / 1e6:.2f} Mpx/s")
            left = max(0, self.total_pixels - self.pixels) / speed
            parts.append(f"{format_duration(left)} left" if left else f"{format_duration(elapsed)} in all")
        return ", ".join(parts)


class DrawnBar:
    """A bar in a terminal that moves only when told.

    Args:
        label: before the bar.
        total: what `done` ends with.
        stream: the terminal.
    """

    def __init__(self, label: str, total: int, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[details]}"),
        )
        self._bar = Progress(*columns, console=Console(file=stream), auto_refresh=False)
        self._task = self._bar.add_task(label, total=total, details="")
        self._bar.start()

    def move(self, done: int, details: str) -> None:
        """Show how much is done, with details behind the bar."""
        self._bar.update(self._task, completed=done, details=details, refresh=True)

    def stop(self) -> None:
        """Leave it as it stands."""
        self._bar.stop()


def summary_table(
    areas_ha: Mapping[str, float],
    *,
    outside_ha: float = 0.0,
    nodata_ha: float = 0.0,
    masked_ha: Mapping[str, float] | None = None,
) -> str:
    """Classes, largest first, with their share of the classified area; below, what became of the whole raster.

    Beyond `MOST_LINES` the rest of the classes share a line.

    Args:
        areas_ha: class name → hectares of ground.
        outside_ha: hectares outside the area of interest; 0: no line.
        nodata_ha: hectares inside it that hold no data; 0: no line.
        masked_ha: reason (cloud, shadow, …) → hectares that hold data and were masked; 0: no line.
    """
    classified = sum(areas_ha.values())
    ranked = sorted(areas_ha.items(), key=lambda item: -item[1])
    if len(ranked) > MOST_LINES:
        rest = [ha for _, ha in ranked[MOST_LINES - 1 :]]
        ranked = [*ranked[: MOST_LINES - 1], (f"{len(rest):,} others", sum(rest))]
    rows = [_line(name, ha, classified) for name, ha in ranked]
    apart = {**(masked_ha or {}), "nodata": nodata_ha, "outside": outside_ha}
    apart = {name: ha for name, ha in apart.items() if ha > 0}
    total = classified + sum(apart.values())
    below = [_line(name, ha, total) for name, ha in {"classified": classified, **apart}.items()]
    if apart:
        below.append(_line("total", total, total))
    head = ("class", "hectares", "share")
    widths = [max(map(_cells, column)) for column in zip(head, *rows, *below, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    lines = [_row(head, widths), rule, *(_row(row, widths) for row in rows), rule]
    return "\n".join([*lines, *(_row(row, widths) for row in below)])


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal: the first column to the left, the others to the right.

    Args:
        head: of the columns.
        rows: as many cells each.
    """
    widths = [max(map(_cells, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([_row(head, widths), rule, *(_row(row, widths) for row in rows)])


def seam_line(seam: Seam) -> str:
    """How much neighboring chips disagree, in a sentence."""

    def percent(share: float) -> str:
        return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"

    edge = "" if seam.at_edge is None else f", {percent(seam.at_edge)} at the chip's edge"
    return f"seam: {percent(seam.at_seam)} of pixels differ between neighboring chips at the seam{edge}"


NO_SEAM = "seam: not sampled (--seam says how many chips are compared)"
"""The same where none were compared."""


def _line(name: str, hectares: float, whole: float) -> tuple[str, str, str]:
    return name, format_hectares(hectares), format_share(hectares / whole if whole else 0.0)


def _row(row: Sequence[str], widths: list[int]) -> str:
    name, *numbers = row
    padded = [name + " " * (widths[0] - _cells(name))]
    padded += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join(padded).rstrip()


def _cells(text: str) -> int:
    """Terminal columns that a text takes: East Asian wide characters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
