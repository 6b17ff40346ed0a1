"""A scene predicted tile by tile, without files: what every law about tiles compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoseg.arrays import ClassMap
from geoseg.grid import Window
from geoseg.io.scene import Scene
from geoseg.model.device import Resolved
from geoseg.model.file import ModelRef
from geoseg.settings import SCORE_LAYERS
from geoseg.tiling.plan import plan_tiles
from geoseg.tiling.reads import SceneReads
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.tally import Tally
from geoseg.tiling.worker import TileJob


@dataclass(frozen=True)
class Predicted:
    """A whole map."""

    index: np.ndarray
    """(row, col)."""
    scores: dict[str, np.ndarray]
    """Every layer: (row, col), probabilities (class, row, col)."""
    tally: Tally
    reads: SceneReads

    def part(self, window: Window) -> ClassMap:
        """A window, as a finished run gives it."""
        rows, cols = window.slices
        scores = {name: layer[..., rows, cols] for name, layer in self.scores.items()}
        return ClassMap(self.index[rows, cols], window, scores)

    def assert_equal(self, other: Predicted) -> None:
        """The same, byte for byte."""
        np.testing.assert_array_equal(self.index, other.index)
        for name in SCORE_LAYERS:
            np.testing.assert_array_equal(self.scores[name], other.scores[name])
        assert self.tally.seam == other.tally.seam


def predicted(
    scene: Scene,
    model: ModelRef,
    *,
    tile: int = 10_000,
    batch: int = 4,
    gsd: float | None = None,
    shuffle: int | None = None,
    schedule: Any = None,
    blend: Any = "trim",
    tta: Any = "none",
    margin: int | None = None,
    finished: Predicted | None = None,
) -> Predicted:
    """Through the scheduler, in pixels; shuffle: seed of the order of the tiles; finished: what is to be updated."""
    spec = model.spec
    plan = plan_tiles(
        scene.grid,
        chip=spec.chip,
        margin=spec.margin if margin is None else margin,
        stride=spec.stride,
        tile=tile,
        network_gsd_m=gsd,
        blend=blend,
    )
    job = TileJob(scene, plan, model, Resolved("cpu", "fp32", batch), layers=SCORE_LAYERS, tta=tta)
    if finished is not None:
        job = replace(job, known=finished.reads)
    tiles = list(plan)
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(tiles)
    index = np.full(scene.grid.shape, 77, spec.classes.index_dtype)
    scores = {name: np.full(scene.grid.shape, 77, "uint8") for name in SCORE_LAYERS}
    scores["probabilities"] = np.full((len(spec.classes), *scene.grid.shape), 77, "uint8")
    tally, reads = Tally(scene.grid, spec.classes), SceneReads.of(plan)
    for found in map_tiles(job, tiles, schedule):
        result = found if finished is None else found.completed(finished.part)
        rows, cols = result.map.window.slices
        index[rows, cols] = result.map.index
        for name, layer in result.map.scores.items():
            scores[name][..., rows, cols] = layer
        tally.add(result)
        reads.add(result, plan)
    return Predicted(index, scores, tally, reads)
