"""How wide a margin a model needs on an image: measured on its pixels, as training does on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.read import read_chip
from geoseg.model.device import resolve
from geoseg.settings import RunSettings
from geoseg.stories.prepare import prepare
from geoseg.tiling.worker import TileJob
from geoseg.training.margin import measure_margin as measure

TOLERANCE = 1e-3
PLACES = 3
"""Chips along a side of the sample."""


@dataclass(frozen=True, kw_only=True)
class MarginFound:
    """What was measured."""

    model: str
    chip: int
    margin: int
    """Smallest margin in pixels with less disagreement than `TOLERANCE`."""
    file_margin: int
    """What the model file says."""
    disagreement: dict[int, float]
    """Margin → share of valid pixels whose class changes when the margin is doubled."""
    pixels: int
    """Valid pixels compared."""

    def lines(self) -> list[str]:
        """For people."""
        tried = self.disagreement.items()
        return [
            *(f"margin {m:>4} px: {share:.3%} of pixels change when it is doubled" for m, share in tried),
            f"{self.model} in chips of {self.chip} px: {self.margin} are enough; its file says {self.file_margin}",
        ]


def measure_margin(inputs: Sequence[str | Path], settings: RunSettings | None = None) -> MarginFound:
    """Measure the margin of a model on pixels spread over a scene.

    Args:
        inputs: files of one scene, as `run` takes them.
        settings: model, device, precision, chip, and how to read.

    Raises:
        ConfigError: no margin that the chip has room for will do; the message tells the shares.
        InputError: the scene has no valid pixel where it was looked at.
        GeosegError: scene and model do not go together.
    """
    settings = settings or RunSettings()
    job = prepare(inputs, settings)
    spec, plan = job.model.spec, job.plan
    work = TileJob(job.scene, plan, job.model, resolve(settings.predict, job.model.spec))
    image, valid = _sample(work)
    bands = len(image) // 2

    def forward(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        data, present = pixels[0, :bands], pixels[0, bands:] > 0
        window = Window(0, 0, data.shape[2], data.shape[1])
        (scores,) = work.scores([Chip(data, present, np.ones(window.shape, bool), window)])
        return scores[None]

    report = measure(forward, image, chip=plan.chip, stride=spec.stride, tolerance=TOLERANCE, counted=valid)
    return MarginFound(
        model=f"{spec.name} {spec.version}",
        chip=plan.chip,
        margin=report.margin,
        file_margin=spec.margin,
        disagreement=report.disagreement,
        pixels=int(valid.sum()),
    )


def _sample(work: TileJob) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Chips spread over the scene, side by side: stored numbers and presence (band + band, row, col); (row, col) valid.

    Raises:
        InputError: none of them has a valid pixel.
    """
    grid, side = work.seen.grid, work.plan.chip
    rows, cols = (
        np.linspace(0, max(0, size - side), min(PLACES, math.ceil(size / side))).astype(int).tolist()
        for size in grid.shape
    )
    chips = [[read_chip(work.seen, Window(col, row, side, side)) for col in cols] for row in rows]
    valid = np.block([[chip.valid for chip in line] for line in chips])
    if not valid.any():
        raise InputError("no valid pixel found to measure on; check --nodata, --collar, --mask and --aoi.")
    image = np.block([[_numbers(chip) for chip in line] for line in chips])
    return image, valid


def _numbers(chip: Chip) -> NDArray[np.float32]:
    present = np.broadcast_to(chip.present, chip.data.shape)
    return np.concatenate([chip.data, present]).astype(np.float32)
