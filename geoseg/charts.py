"""Charts as pictures: curves over a common axis, and a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.classes import ClassScheme, Color
from geoseg.lettering import FRAME, INK, PAPER, SOFT_INK, draw_text, font_for

WIDTH = 1200
PANEL_HEIGHT = 320
MARGIN = 48
LEFT = 96
"""Room for the numbers beside an axis."""
CELL_WIDTH, CELL_HEIGHT = 92, 44
MOST_CLASSES = 24
"""Rows that a confusion picture shows; beyond, the rarest classes share one."""
LINES: tuple[Color, ...] = ((31, 119, 180), (214, 96, 40), (44, 140, 80), (148, 80, 180))
SHADE: Color = (24, 90, 157)
Point = tuple[float, float]


def curves_chart(panels: Mapping[str, Mapping[str, Sequence[Point]]], *, title: str, across: str) -> Image.Image:
    """Panels below each other, with curves over one axis.

    Args:
        panels: caption → name of a curve → its points (x, y), ascending in x; a panel without points is left out.
        title: heading.
        across: what x is.
    """
    shown = {caption: curves for caption, curves in panels.items() if any(curves.values())}
    names = list(dict.fromkeys(name for curves in shown.values() for name in curves))
    page = Image.new("RGB", (WIDTH, MARGIN + 96 + len(shown) * (PANEL_HEIGHT + 84)), PAPER)
    draw = ImageDraw.Draw(page)
    draw_text(draw, (MARGIN, MARGIN - 10), title, 28, bold=True)
    place = MARGIN
    for name, color in zip(names, _colors(len(names)), strict=True):
        draw.line((place, MARGIN + 52, place + 32, MARGIN + 52), color, 4)
        place += 44 + draw_text(draw, (place + 42, MARGIN + 52), name, 18, anchor="lm") + 28
    last = max((x for curves in shown.values() for points in curves.values() for x, _ in points), default=1.0)
    for number, (caption, curves) in enumerate(shown.items()):
        top = MARGIN + 116 + number * (PANEL_HEIGHT + 84)
        draw_text(draw, (LEFT, top - 28), caption, 18, color=SOFT_INK)
        box = (LEFT, top, WIDTH - MARGIN, top + PANEL_HEIGHT)
        _panel(draw, box, [curves.get(name, ()) for name in names], last)
        draw_text(draw, (box[2], box[3] + 34), across, 16, color=SOFT_INK, anchor="rm")
    return page


def confusion_chart(matrix: NDArray[np.integer], scheme: ClassScheme, *, title: str) -> Image.Image:
    """A confusion matrix: each row a true class, its cells the share of its pixels that got each class.

    Args:
        matrix: counts (true class, predicted class).
        scheme: names and colors, in the matrix's order.
        title: heading.
    """
    counts, names = _most_frequent(np.asarray(matrix, np.int64), list(scheme.names))
    wide = 26 + max(_length(name, 17) for name in names)
    left, top = MARGIN + wide + 110, MARGIN + 60 + wide
    side = len(names)
    page = Image.new("RGB", (left + side * CELL_WIDTH + MARGIN, top + side * CELL_HEIGHT + MARGIN + 30), PAPER)
    draw = ImageDraw.Draw(page)
    draw_text(draw, (MARGIN, MARGIN - 10), title, 24, bold=True)
    draw_text(draw, (MARGIN, top - 18), "true class", 16, color=SOFT_INK)
    draw_text(draw, (left - 12, top - 18), "pixels", 16, color=SOFT_INK, anchor="ra")
    draw_text(draw, (left, top + side * CELL_HEIGHT + 12), "% of the true class's pixels", 16, color=SOFT_INK)
    totals = counts.sum(axis=1)
    for row, name in enumerate(names):
        middle = top + row * CELL_HEIGHT + CELL_HEIGHT // 2
        draw_text(draw, (MARGIN, middle), name, 17, anchor="lm")
        draw_text(draw, (left - 12, middle), f"{totals[row]:,}", 15, color=SOFT_INK, anchor="rm")
        _upright(page, (left + row * CELL_WIDTH + CELL_WIDTH // 2, top - 10), name, 17)
        for col in range(side):
            share = counts[row, col] / totals[row] if totals[row] else None
            _cell(draw, (left + col * CELL_WIDTH, top + row * CELL_HEIGHT), share)
    for hit in range(side):  # last, or the neighbors' frames would lie over theirs
        x, y = left + hit * CELL_WIDTH, top + hit * CELL_HEIGHT
        draw.rectangle((x, y, x + CELL_WIDTH, y + CELL_HEIGHT), outline=INK, width=2)
    return page


def _panel(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], curves: Sequence[Sequence[Point]], last: float
) -> None:
    left, top, right, bottom = box
    values = [y for points in curves for _, y in points]
    step = _nice(max(max(values) - min(values), 1e-3 * max(1e-9, *map(abs, values))) / 4)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = max(high, low + step)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - 0.5) / last * (right - left), bottom - (y - low) / (high - low) * (bottom - top)

    for number in range(round((high - low) / step) + 1):
        y = at(0, low + number * step)[1]
        draw.line((left, y, right, y), FRAME)
        draw_text(draw, (left - 10, y), f"{low + number * step:.4g}", 15, color=SOFT_INK, anchor="rm")
    every = max(1, round(_nice(last / 8)))
    for x in {1, *range(every, int(last) + 1, every)}:
        draw_text(draw, (at(x, 0)[0], bottom + 14), str(x), 15, color=SOFT_INK, anchor="mm")
    for points, color in zip(curves, _colors(len(curves)), strict=True):
        places = [at(*point) for point in points]
        draw.line(places, color, 3, joint="curve")
        for x, y in places if len(places) <= 60 else ():  # where it was measured
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), color)


def _cell(draw: ImageDraw.ImageDraw, at: tuple[int, int], share: float | None) -> None:
    x, y = at
    weight = 0.0 if share is None else share
    fill = tuple(round(paper + weight * (shade - paper)) for paper, shade in zip(PAPER, SHADE, strict=True))
    draw.rectangle((x, y, x + CELL_WIDTH, y + CELL_HEIGHT), fill, FRAME)
    text = "–" if share is None else f"{100 * share:.1f}"
    color = PAPER if weight > 0.55 else INK
    draw_text(draw, (x + CELL_WIDTH // 2, y + CELL_HEIGHT // 2), text, 16, color=color, anchor="mm")


def _most_frequent(matrix: NDArray[np.int64], names: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The classes with the most true pixels in their order, the others summed up behind them."""
    if len(names) <= MOST_CLASSES:
        return matrix, names
    kept = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[: MOST_CLASSES - 1])
    group = np.full(len(names), len(kept))
    group[kept] = np.arange(len(kept))
    joined = np.zeros((len(kept) + 1, len(kept) + 1), np.int64)
    np.add.at(joined, (group[:, None], group[None, :]), matrix)
    return joined, [*(names[i] for i in kept), f"{len(names) - len(kept)} others"]


def _nice(step: float) -> float:
    """The next of 1, 2, 5 × 10ⁿ that is not smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))


def _colors(count: int) -> list[Color]:
    return [LINES[number % len(LINES)] for number in range(count)]


def _upright(page: Image.Image, at: tuple[int, int], text: str, size: int) -> None:
    """Written from the bottom up, ending above a point."""
    strip = Image.new("RGB", (_length(text, size) + 4, size + 8), PAPER)
    draw_text(ImageDraw.Draw(strip), (0, (size + 8) // 2), text, size, anchor="lm")
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    page.paste(turned, (at[0] - turned.width // 2, at[1] - turned.height))


def _length(text: str, size: int) -> int:
    return math.ceil(font_for(text, size).getlength(text))
