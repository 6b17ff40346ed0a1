"""The preview: image and class map beside each other, with legend and scale bar."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.classes import ClassScheme, Color
from geoseg.console import format_hectares, format_share
from geoseg.lettering import FRAME, INK, PAPER, SOFT_INK, draw_text

PAGE_WIDTH = 1600
MIN_PAGE_WIDTH = 960
MARGIN = 48
GAP = 32
MAX_PANEL_HEIGHT = 1100
WIDE = 1.7
"""Rasters wider than this (width / height) have their panels stacked."""
ROW_HEIGHT = 38
COLUMN_WIDTH = 460
MAX_LEGEND_ENTRIES = 30
HAZE_SHARE = 0.85
GAMMA = 1.4
ROWS_AT_ONCE = 64
SAMPLE_PX = 1 << 18
"""Larger images give their ends by a sample of at least as many pixels: every n-th of row and column."""

PNG_LEVEL = 2
"""Of the preview: half the time of the usual level 6, for a file 7 % larger."""

NO_IMAGE: Color = (226, 230, 234)
HATCH: Color = (205, 211, 217)
HATCH_GROUND: Color = (240, 242, 244)


def stretch(reflectance: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Reflectance to something that looks like a photograph.

    Dark end: most of each band's 2nd percentile, which takes the blue veil of the atmosphere off
    top-of-atmosphere scenes (dark-object subtraction; in full it would turn the sea brown). Bright end: the
    98th percentile of all three bands together, which keeps their proportions. Then gamma.

    Args:
        reflectance: (3, row, col): red, green, blue, in any linear unit.
        valid: (row, col), True = usable.

    Returns:
        (row, col, 3) uint8; light grey where invalid or not finite.
    """
    usable = valid & np.isfinite(reflectance).all(axis=0)
    out = np.empty((*valid.shape, 3), np.uint8)
    if not usable.any():
        out[...] = NO_IMAGE
        return out
    step = max(1, math.isqrt(valid.size // SAMPLE_PX))
    sample = usable[::step, ::step]
    bands = reflectance[:, ::step, ::step][:, sample] if sample.any() else reflectance[:, usable]
    bands = bands.astype(np.float32)
    haze = HAZE_SHARE * np.percentile(bands, 2, axis=1, keepdims=True)
    bright = max(float(np.percentile(bands - haze, 98)), float(np.finfo(np.float32).tiny))
    for first in range(0, len(out), ROWS_AT_ONCE):  # in a processor's cache, without memory touched anew
        rows = slice(first, first + ROWS_AT_ONCE)
        unknown = ~usable[rows]
        for channel, (band, dark) in enumerate(zip(reflectance[:, rows], haze, strict=True)):
            seen = band.astype(np.float32)
            seen[unknown] = dark
            seen -= dark
            seen /= bright
            np.clip(seen, 0, 1, out=seen)
            np.power(seen, 1 / GAMMA, out=seen)
            seen *= 255
            out[rows, :, channel] = np.rint(seen, out=seen)
        out[rows][unknown] = NO_IMAGE
    return out


def render_preview(
    image: NDArray[np.uint8] | None,
    codes: NDArray[Any],
    scheme: ClassScheme,
    *,
    nodata: int,
    metres_per_pixel: float,
    title: str,
    areas_ha: Mapping[str, float] | None = None,
    empty: str = "no data",
) -> Image.Image:
    """Image and class map beside each other (a wide raster: one above the other), about 1600 pixels wide.

    Args:
        image: (row, col, 3) uint8 true color, see `stretch`; None: the class map alone.
        codes: (row, col) class codes, decimated if the raster is large.
        scheme: names and colors.
        nodata: code that stands for "no class"; hatched.
        metres_per_pixel: ground metres of a pixel of `codes`, for the scale bar.
        title: heading, usually the scene's name.
        areas_ha: class name → hectares; None: shares from the pixels of `codes`, without hectares.
        empty: what the legend calls pixels without a class.

    Returns:
        An RGB picture on white.

    Raises:
        ValueError: shapes differ, or `codes` holds a code that is no class and not nodata.
    """
    if image is not None and image.shape != (*codes.shape, 3):
        raise ValueError(f"image {image.shape} does not fit the class map {codes.shape}.")
    layout = _Layout.of(codes.shape, panels=1 if image is None else 2)
    legend = list(_legend(codes, scheme, nodata, areas_ha, empty))
    columns, rows = layout.legend_shape(len(legend))
    page = Image.new("RGB", (layout.page_width, layout.legend_top + rows * ROW_HEIGHT + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw_text(draw, (MARGIN, MARGIN - 8), title, 32, bold=True, width=layout.inner_width)
    panels = [("Land classes", _class_panel(codes, scheme, nodata, layout.panel))]
    if image is not None:
        panels.insert(0, ("True color", _image_panel(image, layout.panel)))
    for (x, y), (caption, panel) in zip(layout.origins, panels, strict=True):
        draw_text(draw, (x, y - 34), caption, 19, color=SOFT_INK)
        page.paste(panel, (x, y))
        draw.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=FRAME)
    _scale_bar(draw, layout, metres_per_pixel * codes.shape[1] / layout.panel[0])
    step = min(700, (layout.inner_width + GAP) // columns)
    for i, entry in enumerate(legend):
        x, y = MARGIN + (i // rows) * step, layout.legend_top + (i % rows) * ROW_HEIGHT
        _legend_entry(draw, page, entry, (x, y), step - GAP)
    return page


def panels_of(page: Image.Image) -> tuple[int, int, int, int]:
    """Left, upper, right, lower edge of the panels of a preview, found by the frames around them.

    Args:
        page: as `render_preview` made it.
    """
    pixels = np.asarray(page.convert("RGB"))
    rows = np.flatnonzero((pixels[:, MARGIN - 1] == FRAME).all(axis=-1))
    cols = np.flatnonzero((pixels[rows[0]] == FRAME).all(axis=-1))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class _Layout:
    """Where things stand on the page, in pixels from its upper left corner."""

    panel: tuple[int, int]
    """(width, height) of one panel."""
    origins: tuple[tuple[int, int], ...]
    """Upper left corner of each panel."""
    page_width: int

    @classmethod
    def of(cls, shape: tuple[int, ...], panels: int) -> _Layout:
        rows, cols = shape
        stacked = cols / rows > WIDE
        across = 1 if stacked else panels
        slot = (PAGE_WIDTH - 2 * MARGIN - (across - 1) * GAP) // across
        factor = min(slot / cols, MAX_PANEL_HEIGHT / (panels if stacked else 1) / rows)
        width, height = max(1, round(cols * factor)), max(1, round(rows * factor))
        top = MARGIN + 88
        step = (0, height + GAP + 44) if stacked else (width + GAP, 0)
        origins = tuple((MARGIN + i * step[0], top + i * step[1]) for i in range(panels))
        return cls((width, height), origins, max(MIN_PAGE_WIDTH, origins[-1][0] + width + MARGIN))

    @property
    def inner_width(self) -> int:
        return self.page_width - 2 * MARGIN

    @property
    def panels_bottom(self) -> int:
        return self.origins[-1][1] + self.panel[1]

    @property
    def legend_top(self) -> int:
        return self.panels_bottom + 84

    def legend_shape(self, entries: int) -> tuple[int, int]:
        """(columns, rows) of the legend."""
        rows = math.ceil(entries / max(1, self.inner_width // COLUMN_WIDTH))
        return max(1, math.ceil(entries / max(1, rows))), rows


@dataclass(frozen=True)
class _Entry:
    """A line of the legend; `color` None is the hatch."""

    name: str
    color: Color | None
    hectares: str
    share: str


def _legend(
    codes: NDArray[Any], scheme: ClassScheme, nodata: int, areas_ha: Mapping[str, float] | None, empty: str
) -> Iterator[_Entry]:
    """Classes that occur, largest first, then nodata; beyond a readable number the rest in one line."""
    pixels = code_counts(codes)
    hatched = pixels.pop(nodata, 0)
    unknown = sorted(set(pixels) - set(scheme.codes))
    if unknown:
        raise ValueError(f"class code {unknown[0]} is not in the class scheme {list(scheme.codes)}.")
    sizes = areas_ha or {scheme.by_code(code).name: float(count) for code, count in pixels.items()}
    total = sum(sizes.values())
    ranked = sorted((c for c in scheme.classes if sizes.get(c.name, 0) > 0), key=lambda c: -sizes[c.name])
    shown, rest = ranked[:MAX_LEGEND_ENTRIES], ranked[MAX_LEGEND_ENTRIES:]
    groups: list[tuple[str, Color, float]] = [(c.name, c.color, sizes[c.name]) for c in shown]
    if rest:
        groups.append((f"… and {len(rest)} more classes", PAPER, sum(sizes[c.name] for c in rest)))
    for name, color, size in groups:
        yield _Entry(name, color, f"{format_hectares(size)} ha" if areas_ha else "", format_share(size / total))
    if hatched:
        yield _Entry(empty, None, "", f"{format_share(hatched / codes.size)} of picture")


def code_counts(codes: NDArray[Any]) -> dict[int, int]:
    """How many pixels have each code that occurs."""
    if codes.dtype == np.uint8:  # counting without sorting
        numbers = np.bincount(codes.ravel(), minlength=256)
        return {code: int(numbers[code]) for code in np.flatnonzero(numbers).tolist()}
    values, counts = np.unique(codes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _class_panel(codes: NDArray[Any], scheme: ClassScheme, nodata: int, size: tuple[int, int]) -> Image.Image:
    """The map in the legend's colors and in no other: nearest neighbour in both directions."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * codes.shape[0] / height).astype(np.intp)
    cols = ((np.arange(width) + 0.5) * codes.shape[1] / width).astype(np.intp)
    shown = codes[np.ix_(rows, cols)]
    colors = np.zeros((max(nodata, *scheme.codes) + 1, 3), np.uint8)
    colors[list(scheme.codes)] = [c.color for c in scheme.classes]
    return Image.fromarray(np.where((shown == nodata)[..., None], _hatch(size), colors[shown]))


def _hatch(size: tuple[int, int]) -> NDArray[np.uint8]:
    row, col = np.ogrid[: size[1], : size[0]]
    line = ((row + col) % 10 < 2)[..., None]
    return np.where(line, np.array(HATCH, np.uint8), np.array(HATCH_GROUND, np.uint8))


def _image_panel(image: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    method = Image.Resampling.NEAREST if size[0] >= 4 * image.shape[1] else Image.Resampling.HAMMING
    return Image.fromarray(np.ascontiguousarray(image)).resize(size, method)


def scale_length(available_m: float) -> float:
    """The longest of 1, 2, 5 × 10ⁿ metres that is not longer than `available_m`."""
    power = 10.0 ** math.floor(math.log10(available_m))
    return max(step * power for step in (1, 2, 5) if step == 1 or step * power <= available_m)


def _scale_bar(draw: ImageDraw.ImageDraw, layout: _Layout, metres_per_pixel: float) -> None:
    length = scale_length(max(60, 0.4 * layout.panel[0]) * metres_per_pixel)
    pixels = round(length / metres_per_pixel)
    x, y = MARGIN, layout.panels_bottom + 24
    draw.rectangle((x, y, x + pixels, y + 8), fill=PAPER, outline=INK)
    draw.rectangle((x, y, x + pixels // 2, y + 8), fill=INK)
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    draw_text(draw, (x + pixels + 14, y + 4), label, 19, anchor="lm")


def _legend_entry(draw: ImageDraw.ImageDraw, page: Image.Image, entry: _Entry, at: tuple[int, int], width: int) -> None:
    x, y = at
    box = (x, y, x + 34, y + 22)
    if entry.color is None:
        page.paste(Image.fromarray(_hatch((34, 22))), box[:2])
    draw.rectangle(box, fill=entry.color, outline=FRAME)
    middle, end = y + 11, x + width
    numbers = 16 + max(84, draw_text(draw, (end, middle), entry.share, 19, anchor="rm"))
    if entry.hectares:
        numbers += 16 + draw_text(draw, (end - numbers, middle), entry.hectares, 19, color=SOFT_INK, anchor="rm")
    draw_text(draw, (x + 48, middle), entry.name, 19, anchor="lm", width=width - 48 - numbers)
