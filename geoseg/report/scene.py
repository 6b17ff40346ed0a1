"""The page of a scene: image under class map, areas, scores, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme, Color
from geoseg.picture import code_counts
from geoseg.report.page import render, script
from geoseg.report.pictures import indexed_picture, photo_picture

MOST_SWITCHES = 200
"""Classes with a switch and a color of their own, the largest; the others share one."""
MOST_BARS = 25
MOST_ROWS = 500
"""Classes in the table of areas."""
MOST_ABSENT = 40
REST: Color = (128, 128, 128)
NO_CLASS: Color = (226, 230, 234)
SCORE_BIN = 5
"""Scores 1…255 in a bar of the histogram; 51 bars hold as many each."""
QUANTILES = (("5 % of pixels are below", 0.05), ("median", 0.5), ("95 % of pixels are below", 0.95))


@dataclass(frozen=True)
class FactGroup:
    """A small table: names and values."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ScenePage:
    """Everything that the page tells; nothing that differs between runs of one result."""

    title: str
    lead: str
    """One line: model, date, size."""
    scheme: ClassScheme
    areas_ha: Mapping[str, float]
    """Class name → hectares of ground; 0: not on the map."""
    pixels: Mapping[str, int]
    polygons: Mapping[str, int]
    """Class name → number."""
    apart_ha: Mapping[str, float]
    """What became of the rest of the raster (cloud, no data, …) → hectares."""
    image: NDArray[np.uint8] | None
    """(row, col, 3) true color; None: there is none."""
    codes: NDArray[Any]
    """(row, col) class codes of the same frame, decimated."""
    empty: str
    """What pixels without a class are called."""
    width_m: float
    """Ground metres across the pictures."""
    scores: NDArray[np.int64] | None
    """(256,) pixels by winning score, 255 = 1.0; the first, without a class, does not count."""
    seam: float | None
    """Share of pixels that neighboring chips see differently."""
    changes: Sequence[tuple[str, str, float]] = ()
    """Class before, class after, hectares."""
    accuracy: str | None
    """Figures of an assessment of this very map, as lines; None: nobody made one."""
    accuracy_file: str | None
    """The page that tells more."""
    model_accuracy: str
    """What is known of the model's accuracy, a sentence."""
    classes_file: str
    facts: tuple[FactGroup, ...]
    warnings: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    """Name and meaning of each file beside the page."""
    ranked: tuple[str, ...] = field(init=False)
    """Classes on the map, the largest first."""

    def __post_init__(self) -> None:
        if self.image is not None and self.image.shape != (*self.codes.shape, 3):
            raise ValueError(f"image {self.image.shape} does not fit the class map {self.codes.shape}.")
        on_map = [name for name in self.scheme.names if self.areas_ha.get(name, 0) > 0]
        object.__setattr__(self, "ranked", tuple(sorted(on_map, key=lambda name: -self.areas_ha[name])))

    @property
    def classified_ha(self) -> float:
        """Hectares of all classes."""
        return sum(self.areas_ha.values())

    @property
    def n_polygons(self) -> int:
        """Polygons of all classes."""
        return sum(self.polygons.values())

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that the map does not have."""
        return tuple(name for name in self.scheme.names if name not in set(self.ranked))


def scene_page(page: ScenePage) -> str:
    """The HTML page: self-contained, the same for the same facts.

    Raises:
        ValueError: the map holds a code that is no class.
    """
    rows = _rows(page)
    entries = _entries(page, {row["name"]: row["share"] for row in rows})
    shown = indexed_picture(page.codes, [entry.codes for entry in entries], [entry.rgb for entry in entries])
    photo = None if page.image is None else photo_picture(page.image)
    return render(
        "scene.html",
        title=page.title,
        page=page,
        rows=rows,
        entries=entries,
        map=shown,
        photo=photo,
        aspect=f"{page.codes.shape[1]} / {page.codes.shape[0]}",
        confidence=_confidence(page.scores),
        most_bars=MOST_BARS,
        most_rows=MOST_ROWS,
        most_absent=MOST_ABSENT,
        script=script("viewer.js"),
    )


@dataclass(frozen=True)
class _Entry:
    """A line of the legend, an entry of the palette."""

    name: str
    rgb: Color
    codes: tuple[int, ...]
    share: float | None

    @property
    def color(self) -> str:
        """As `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


def _rows(page: ScenePage) -> list[dict[str, Any]]:
    """The table of areas, the largest first."""
    total = page.classified_ha
    by_name = {c.name: c for c in page.scheme.classes}
    return [
        {
            "name": name,
            "code": by_name[name].code,
            "color": by_name[name].hex_color,
            "hectares": page.areas_ha[name],
            "share": page.areas_ha[name] / total,
            "pixels": page.pixels.get(name, 0),
            "polygons": page.polygons.get(name, 0),
        }
        for name in page.ranked
    ]


def _entries(page: ScenePage, shares: Mapping[str, float]) -> list[_Entry]:
    """Classes by area, the rest of them in one, and what has no class where there is such."""
    by_name = {c.name: c for c in page.scheme.classes}
    seen = code_counts(page.codes)
    # An AOI may cut off all of a class but the pixels that it touches.
    ranked = [by_name[name] for name in (*page.ranked, *(n for n in page.absent if by_name[n].code in seen))]
    own, rest = ranked[:MOST_SWITCHES], ranked[MOST_SWITCHES:]
    entries = [_Entry(c.name, c.color, (c.code,), shares.get(c.name)) for c in own]
    if rest:
        share = sum(shares.get(c.name, 0) for c in rest)
        entries.append(_Entry(f"{len(rest)} more classes", REST, tuple(c.code for c in rest), share))
    if page.scheme.nodata in seen:
        entries.append(_Entry(page.empty, NO_CLASS, (page.scheme.nodata,), None))
    return entries


def _confidence(scores: NDArray[np.int64] | None) -> dict[str, Any] | None:
    """Histogram and quantiles; None where no pixel has a score."""
    if scores is None or not scores[1:].any():
        return None
    counts = scores[1:]
    total = int(counts.sum())
    below = np.cumsum(counts)
    bins = counts.reshape(-1, SCORE_BIN).sum(axis=1) / total
    return {
        "mean": float((counts * np.arange(1, 256)).sum() / 255 / total),
        "quantiles": [(name, (int(np.searchsorted(below, part * total)) + 1) / 255) for name, part in QUANTILES],
        "bins": [
            {"low": number / len(bins), "high": (number + 1) / len(bins), "share": share}
            for number, share in enumerate(bins.tolist())
        ],
    }
