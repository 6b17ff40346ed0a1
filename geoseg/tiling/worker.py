"""What one tile does, wherever it runs: read its chips, predict them, keep each cell's own pixels."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip, ClassMap
from geoseg.classes import ClassScheme
from geoseg.errors import DeviceError, InputError
from geoseg.io.handles import dataset_for
from geoseg.io.read import inside, read_chip, touches_aoi
from geoseg.io.scene import Scene
from geoseg.legend import Merge
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.model.file import ModelRef
from geoseg.model.predictor import Predictor
from geoseg.quality import REASONS
from geoseg.settings import PredictSettings
from geoseg.tiling.blend import Scores, classify, trim
from geoseg.tiling.plan import Cell, Tile, TilePlan

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TileResult:
    """A finished tile: its pixels and what happened to them."""

    map: ClassMap
    outside_by_row: NDArray[np.int64]
    """(row,) pixels of the core outside the area of interest."""
    masked_by_row: NDArray[np.int64]
    """(reason, row) pixels of the core that hold data and are masked; in the order of `geoseg.quality.REASONS`."""
    chips: int
    """Chips that were sent through the network."""
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class TileJob:
    """Everything a worker needs to do any tile of a plan; small and picklable, no pixels, no weights."""

    scene: Scene
    """On the output grid; its paths become absolute, since workers may run in another folder."""
    plan: TilePlan
    model: ModelRef
    resolved: Resolved
    layers: tuple[str, ...] = ()
    """Score layers beside the classes, names of `settings.SCORE_LAYERS`."""
    merge: Merge | None = None
    """How the model's classes become the output's; None: they are."""
    seen: Scene = field(init=False)
    """The scene on the network's grid."""
    machine: tuple[tuple[str, str], ...] = field(init=False)
    """What else the bytes depend on, as this process has it; each worker must have the same (law 2)."""
    home: str = field(init=False)
    """The process that made the job."""

    def __post_init__(self) -> None:
        scene = replace(self.scene, bands=tuple(replace(b, path=_absolute(b.path)) for b in self.scene.bands))
        object.__setattr__(self, "scene", scene)
        seen = scene.on_grid(self.plan.network_grid) if self.plan.resampled else scene
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "machine", tuple(machine_key(self.resolved).items()))
        object.__setattr__(self, "home", _process())

    def warm_up(self) -> None:
        """Load the model into this process, so that the first tile does not wait for it."""
        _predictor(self)

    def __call__(self, tile: Tile) -> TileResult:
        """Class indices and score layers of the tile's core.

        Raises:
            DeviceError: this process cannot read the inputs or the model, or is another kind of machine.
            InputError: a block of an input cannot be decoded.
            ModelOutputError: the network answers NaN or infinity.
        """
        self._check_inputs()
        scheme = self.scheme
        index = np.full(tile.core.shape, scheme.no_index, scheme.index_dtype)
        layers = {name: np.zeros(tile.core.shape, np.uint8) for name in self.layers}
        predictor = _predictor(self)
        sent, masked = 0, np.zeros(tile.core.shape, np.uint8)
        for batch in _batches(self._lit_chips(tile, masked), predictor.batch_size):
            scores = predictor.scores([chip for _, chip, _ in batch], self.scene.scale, self.scene.offset)
            sent += len(batch)
            for (cell, _, valid), chip_scores in zip(batch, scores, strict=True):
                part = classify(self._own_scores(chip_scores, cell), valid, cell, scheme, layers=self.layers)
                place = cell.core.relative_to(tile.core).slices
                index[place] = part.index
                for name, layer in part.scores.items():
                    layers[name][place] = layer
        outside = tile.core.width - inside(self.scene, tile.core).sum(axis=1)
        by_row = np.stack([(masked == code).sum(axis=1) for code in range(1, len(REASONS) + 1)])
        return TileResult(ClassMap(index, tile.core, layers), outside, by_row, sent, predictor.take_events())

    @property
    def scheme(self) -> ClassScheme:
        """Classes of the output."""
        return self.model.spec.classes if self.merge is None else self.merge.scheme

    def _own_scores(self, scores: Scores, cell: Cell) -> Scores:
        """Those of the cell's own pixels, of the output's classes."""
        scores = trim(scores, cell, self.plan)
        return scores if self.merge is None else self.merge.scores(scores)

    def _check_inputs(self) -> None:
        """Tell an input that this worker cannot see from one that is damaged; open handles are kept."""
        if self.home == _process():
            return
        for band in {band.path: band for band in self.scene.bands}.values():
            try:
                dataset_for(band, self.scene.grid)
            except InputError as error:
                raise DeviceError(
                    f"worker {_process()} cannot open input {band.path}; put it where every worker can read it."
                ) from error

    def _lit_chips(self, tile: Tile, masked: NDArray[np.uint8]) -> Iterator[tuple[Cell, Chip, Bools]]:
        """Chips of the cells with at least one valid pixel; the others are never sent, those off the AOI never read.

        What is masked of the tile's core, and why, is written into `masked` (row, col).
        """
        for cell in tile.cells:
            if not touches_aoi(self.scene, cell.core):
                continue
            chip = read_chip(self.seen, cell.read)
            own = read_chip(self.scene, cell.core) if self.plan.resampled else chip
            rows, cols = cell.core.relative_to(own.window).slices
            valid = own.valid[rows, cols]
            if own.masked is not None:
                masked[cell.core.relative_to(tile.core).slices] = own.masked[rows, cols]
            if valid.any():
                yield cell, chip, valid


def _batches(items: Iterator[tuple[Cell, Chip, Bools]], size: int) -> Iterator[list[tuple[Cell, Chip, Bools]]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


_loaded: dict[tuple[object, ...], Predictor] = {}
_loading = threading.Lock()


def _predictor(job: TileJob) -> Predictor:
    """One predictor per process, model and device; loaded by the first tile that needs it."""
    key = (job.model.sha256, job.scene.names, job.resolved, job.machine)
    with _loading:
        if key not in _loaded:
            _check_machine(job)
            _loaded.clear()  # one model at a time: the next scene's may need the device's memory
            _loaded[key] = Predictor.load(job.model, job.scene.names, job.resolved)
        return _loaded[key]


def _check_machine(job: TileJob) -> None:
    """Refuse to compute other bytes than the key of the run promises.

    Raises:
        DeviceError: the device is not here, or this is another kind of machine or software.
    """
    if job.home == _process():
        return
    asked = job.resolved
    try:
        resolve(PredictSettings(device=asked.device, precision=asked.precision, batch_size=asked.batch_size))
    except DeviceError as error:
        raise DeviceError(f"worker {_process()}: {error}") from error
    here, there = machine_key(asked), dict(job.machine)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise DeviceError(
                f"worker {_process()} has {name} {here.get(name, 'none')}, this run needs {there.get(name, 'none')} "
                f"(the bytes would differ); use workers like this machine."
            )


def _process() -> str:
    """A name for this process among those of all machines."""
    return f"{platform.node()}:{os.getpid()}"


def _absolute(path: str) -> str:
    """GDAL's virtual paths, which no file system knows, stay as they are."""
    return str(Path(path).absolute()) if Path(path).exists() else path
