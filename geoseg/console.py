"""What a person sees in the terminal: progress, the summary table, warnings.

Progress and warnings go to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

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
    print(f"warning: {text}", file=sys.stderr, flush=True)  # noqa: T201 (the door's own words)


class Progress:
    """Tiles done, Mpx/s and time left, on standard error.

    A rich bar when the stream is a terminal, otherwise a plain line about every 10 % (a log, a
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
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._started = clock()
        self._next_line = PLAIN_STEP
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._started = self._clock()
        if not self._quiet and self._stream.isatty():
            self._bar, self._task = _rich_bar(self._label, self.total_pixels, self._stream)
            self._bar.start()
            self._refresh()
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
            self._refresh()
        elif not self._quiet and (self._share >= self._next_line - 1e-9 or self.tiles == self.total_tiles):
            print(self.line(), file=self._stream, flush=True)
            self._next_line = (int(self._share / PLAIN_STEP + 1e-9) + 1) * PLAIN_STEP

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

    def _refresh(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.pixels, details=self._details(), refresh=True)


def _rich_bar(label: str, total: int, stream: IO[str]) -> tuple[RichProgress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[details]}"),
    )
    bar = Progress(*columns, console=Console(file=stream), auto_refresh=False)
    return bar, bar.add_task(label, total=total, details="")


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


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, others to the right."""
    widths = [max(map(_cells, column)) for column in zip(head, *rows, strict=True)]
    cells = [tuple(row) for row in (head, ["─" * width for width in widths], *rows)]
    return [_row(row, widths) for row in cells]


def seam_line(seam: Seam) -> str:
    """How much neighboring chips disagree, in a sentence."""

    def percent(share: float) -> str:
        return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"

    edge = "" if seam.at_edge is None else f", {percent(seam.at_edge)} at the chip's edge"
    return f"seam: {percent(seam.at_seam)} of pixels differ between neighboring chips at the seam{edge}"


def _line(name: str, hectares: float, whole: float) -> tuple[str, str, str]:
    return name, format_hectares(hectares), format_share(hectares / whole if whole else 0.0)


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers = row
    padded = [name + " " * (widths[0] - _cells(name))]
    padded += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join(padded).rstrip()


def _cells(text: str) -> int:
    """Terminal columns that a text takes: East Asian wide characters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
