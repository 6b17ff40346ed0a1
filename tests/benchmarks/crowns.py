"""Tree crowns of a model against what needs none, on cities that it was not trained on.

    python tests/benchmarks/crowns.py trees-aerial --data ../shared/data/naip_urban_trees --split scores:tree

A crown is right when it holds exactly one annotated tree and is at most 25 m wide. Beside them stand connected
pixels of NDVI > 0.1, specks left out, and local maxima of the smoothed NDVI with the vegetation around them, whose
smoothing and reach are the best of the cities that the model was trained on. What `--split` says goes through
`geoseg.run`, pixels to polygons; `--cities` takes others than those held out, to choose its numbers.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

import geoseg
from geoseg.settings import ReadSettings, RunSettings

WIDEST_M = 25.0
NDVI = 0.1
SPECK_PX = 12
Crowns = NDArray[np.int32]
"""(row, col): number of the crown, 0 for none."""


@dataclass(frozen=True)
class Chip:
    path: Path
    gsd_m: float
    trees: NDArray[np.intp]
    """(tree, 2): row and column."""
    ndvi: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Counts over chips."""

    right: int = 0
    crowns: int = 0
    trees: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.crowns + other.crowns, self.trees + other.trees)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(self.crowns + self.trees, 1)

    def line(self, name: str) -> str:
        recall, precision = self.right / max(self.trees, 1), self.right / max(self.crowns, 1)
        return (
            f"{name:44} recall {recall:.3f}  precision {precision:.3f}  F1 {self.f1:.3f}   "
            f"({self.right} right of {self.crowns} crowns, {self.trees} trees)"
        )


def main() -> None:
    options = parsed()
    rows = list(csv.DictReader(options.index.open(encoding="utf-8")))
    if options.cities:
        held_out = set(options.cities.split(","))
        rows = [row | {"split": "val" if row["place_group"] in held_out else "train"} for row in rows]
    chips = {
        split: [load(options.data, row["file"]) for row in rows if row["split"] == split] for split in ("train", "val")
    }
    print(f"{len(chips['val'])} chips of {', '.join(sorted({r['place_group'] for r in rows if r['split'] == 'val'}))}")
    print(total(chips["val"], blobs).line("connected NDVI > 0.1"))
    tried = itertools.product((1.0, 1.5, 2.0, 2.5, 3.0, 4.0), (3, 5, 7, 9, 12))
    best = max(tried, key=lambda p: total(chips["train"], lambda chip: maxima(chip, *p)).f1)
    found = total(chips["val"], lambda chip: maxima(chip, *best))
    print(found.line(f"maxima of NDVI, σ {best[0]} px, reach {best[1]} px"))
    for split in options.split:
        told = total(chips["val"], lambda chip, split=split: objects(chip, options, split))
        print(told.line(f"{Path(options.model).stem} {split}"))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", help="as geoseg run takes it")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/naip_urban_trees"))
    parser.add_argument("--index", type=Path, default=Path("configs/train/vegetation-aerial.csv"))
    parser.add_argument("--cities", help="those that are judged; else as the index says")
    parser.add_argument("--things", default="tree,vegetation")
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        help="as geoseg run takes it, with what says more: scores:tree,radius=8px,score=0.3; may be repeated",
    )
    parser.add_argument("--bands", default="red=1,green=2,blue=3,nir=4")
    return parser.parse_args()


def load(data: Path, name: str) -> Chip:
    path = data / "images" / name
    with rasterio.open(path) as image:
        red, _, _, nir = image.read().astype(float)
        place, gsd = ~image.transform, abs(image.transform.a)
    points = json.loads((data / "tree_points" / path.with_suffix(".geojson").name).read_text("utf-8"))["features"]
    at = [place * tuple(point["geometry"]["coordinates"][:2]) for point in points]
    trees = np.array([(int(y), int(x)) for x, y in at], np.intp).reshape(-1, 2)
    inside = ((trees >= 0) & (trees < red.shape)).all(axis=1)
    return Chip(path, gsd, trees[inside], (nir - red) / np.maximum(nir + red, 1))


def total(chips: Iterable[Chip], crowns_of: Callable[[Chip], Crowns]) -> Score:
    return sum((score(chip, crowns_of(chip)) for chip in chips), Score())


def score(chip: Chip, crowns: Crowns) -> Score:
    numbers, held = np.unique(crowns[tuple(chip.trees.T)], return_counts=True)
    alone = set(numbers[held == 1].tolist()) - {0}
    boxes = ndimage.find_objects(crowns)
    narrow = {
        n + 1 for n, box in enumerate(boxes) if box and max(s.stop - s.start for s in box) * chip.gsd_m <= WIDEST_M
    }
    return Score(len(alone & narrow), sum(box is not None for box in boxes), len(chip.trees))


def blobs(chip: Chip) -> Crowns:
    found = ndimage.label(chip.ndvi > NDVI)[0]
    small = np.bincount(found.ravel()) < SPECK_PX
    return np.where(small[found], 0, found).astype(np.int32)


def maxima(chip: Chip, sigma: float, reach: int) -> Crowns:
    """Each pixel of vegetation belongs to the nearest maximum within reach."""
    smooth = ndimage.gaussian_filter(chip.ndvi, sigma)
    green = chip.ndvi > NDVI
    peaks = (smooth == ndimage.maximum_filter(smooth, 2 * reach + 1)) & green
    numbers = ndimage.label(peaks, np.ones((3, 3)))[0]
    far, (rows, cols) = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    return np.where(green & (far <= reach), numbers[rows, cols], 0).astype(np.int32)


def objects(chip: Chip, options: argparse.Namespace, split: str) -> Crowns:
    method, *more = split.split(",")
    words = {f"split_{word}": value for word, _, value in (part.partition("=") for part in more)}
    settings = RunSettings(read=ReadSettings(bands=tuple(options.bands.split(","))))
    settings = replace(
        settings,
        predict=replace(settings.predict, model=options.model, confidence=method == "scores"),
        vector=replace(settings.vector, things=options.things, split=method, **words),
    )
    with tempfile.TemporaryDirectory() as folder:
        done = geoseg.run(chip.path, folder, settings)
        with rasterio.open(done.instances) as raster:
            ids = raster.read(1)
    return np.where(ids > 0, 1 + np.searchsorted(np.unique(ids[ids > 0]), ids), 0).astype(np.int32)


if __name__ == "__main__":
    main()
