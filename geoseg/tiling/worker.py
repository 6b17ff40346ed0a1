"""What one tile does, wherever it runs: read its chips, predict them, keep each cell's own pixels."""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip, ClassMap
from geoseg.classes import ClassScheme
from geoseg.errors import DeviceError, InputError
from geoseg.grid import Window
from geoseg.io.handles import dataset_for
from geoseg.io.read import inside, read_chip, touches_aoi
from geoseg.io.remote import is_remote
from geoseg.io.scene import Scene
from geoseg.legend import Merge
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.model.file import ModelRef
from geoseg.model.predictor import Predictor
from geoseg.model.reduce import Reduction
from geoseg.quality import REASONS
from geoseg.settings import PredictSettings, Tta
from geoseg.tiling.blend import Scores, Taper, Trim, classify, spoken, stitcher
from geoseg.tiling.plan import Cell, Tile, TilePlan
from geoseg.tiling.seam import count_differences, pairs_of, seam_zones
from geoseg.tiling.tta import augmented

DIGEST_BYTES = 16
"""Bytes of the digest of what a chip reads."""


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
    seam: NDArray[np.int64]
    """(4,) what `geoseg.tiling.seam.count_differences` gives, of the tile's own sampled pairs of chips."""
    events: tuple[str, ...] = ()
    number: int = 0
    """Of the tile in its plan."""
    digests: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, DIGEST_BYTES), np.uint8))
    """(cell, byte) digest of what was read for each of the tile's own cells, see `digest`; 0 where nothing was."""


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
    tta: Tta = "none"
    """Views of each chip whose mean is its answer."""
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
        scheme, core = self.scheme, tile.core
        index = np.full(core.shape, scheme.no_index, scheme.index_dtype)
        layers = {name: self._empty(name, core) for name in self.layers}
        predictor, stitch = _predictor(self), stitcher(self.plan, tile)
        sent, valid, masked = 0, np.zeros(core.shape, bool), np.zeros(core.shape, np.uint8)
        digests = np.zeros((len(tile.cells), DIGEST_BYTES), np.uint8)

        def keep(parts: Iterable[ClassMap]) -> None:
            for part in parts:
                rows, cols = part.window.relative_to(core).slices
                lit = valid[rows, cols]
                index[rows, cols] = np.where(lit, part.index, index.dtype.type(scheme.no_index))
                for name, layer in part.scores.items():
                    layers[name][..., rows, cols] = np.where(lit, layer, np.uint8(0))

        for batch in _batches(self._lit_chips(tile, valid, masked, digests), predictor.batch_size):
            sent += len(batch)
            keep(self._finished(stitch, batch))
        keep(map(self._classified, stitch.finish()))
        outside = core.width - inside(self.scene, core).sum(axis=1)
        by_row = np.stack([(masked == code).sum(axis=1) for code in range(1, len(REASONS) + 1)])
        seam = self._seam(tile)
        events = predictor.take_events()
        return TileResult(
            ClassMap(index, core, layers), outside, by_row, sent, seam, events, number=tile.number, digests=digests
        )

    @property
    def scheme(self) -> ClassScheme:
        """Classes of the output."""
        return self.model.spec.classes if self.merge is None else self.merge.scheme

    def _empty(self, layer: str, core: Window) -> NDArray[np.uint8]:
        bands = (len(self.scheme),) if layer == "probabilities" else ()
        return np.zeros((*bands, *core.shape), np.uint8)

    def _finished(self, stitch: Trim | Taper, batch: Sequence[tuple[Cell, Chip]]) -> Iterator[ClassMap]:
        """What a batch of chips completes; invalid pixels hold anything."""
        chips = [chip for _, chip in batch]
        if isinstance(stitch, Trim) and not self.plan.resampled and self.tta == "none":
            # Nothing is to be averaged: the device itself turns scores into classes.
            merge = self.merge
            how = Reduction(None if merge is None else merge.index_of, len(self.scheme), self.layers)
            own = [cell.core.relative_to(cell.read).slices for cell, _ in batch]
            answers = _predictor(self).reduced(chips, own, how, self.scene.scale, self.scene.offset, self.plan.margin)
            for (cell, _), kept in zip(batch, answers, strict=True):
                yield ClassMap(kept.pop("index"), cell.core, kept)
            return
        for (cell, _), scores in zip(batch, self.scores(chips), strict=True):
            yield from map(self._classified, stitch.add(cell, scores))

    def _classified(self, finished: tuple[Window, Scores]) -> ClassMap:
        window, scores = finished
        return classify(self._merged(scores), np.ones(window.shape, bool), window, self.scheme, layers=self.layers)

    def scores(self, chips: Sequence[Chip]) -> list[Scores]:
        """Scores (class, row, col) of each chip, of the model's classes.

        Raises:
            DeviceError: see `__call__`.
            ModelOutputError: see `__call__`.
        """
        predictor = _predictor(self)

        def forward(views: Sequence[Chip]) -> list[Scores]:
            return predictor.scores(views, self.scene.scale, self.scene.offset)

        return augmented(forward, chips, self.tta)

    def _merged(self, scores: Scores) -> Scores:
        """Scores of the output's classes."""
        return scores if self.merge is None else self.merge.scores(scores)

    def _seam(self, tile: Tile) -> NDArray[np.int64]:
        """How much the sampled pairs of neighboring chips differ, whose first cell is the tile's own."""
        counts = np.zeros(4, np.int64)
        for pair in pairs_of(self.plan, tile):
            # By the first cell alone: that the tile is computed at all must not matter.
            if touches_aoi(self.scene, pair.first.core):
                chips = [read_chip(self.seen, cell.read) for cell in (pair.first, pair.second)]
                zones = seam_zones(self.plan, pair)
                if any(chips[0].valid[zone.relative_to(pair.first.read).slices].any() for zone in zones):
                    first, second = (self._merged(s).argmax(axis=0) for s in self.scores(chips))
                    counts += count_differences(pair, zones, first, second, chips[0].valid)
        return counts

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

    def _lit_chips(
        self, tile: Tile, valid: NDArray[np.bool_], masked: NDArray[np.uint8], digests: NDArray[np.uint8]
    ) -> Iterator[tuple[Cell, Chip]]:
        """Chips with a valid pixel where they count; the others are never sent, those off the AOI never read.

        What is valid in the tile's core, and what is masked, and why, is written into `valid` and `masked` (row, col);
        what the own cells read, into `digests` (cell, byte).
        """
        place_of = {cell: number for number, cell in enumerate(tile.cells)}
        for cell in self.plan.reaching(tile):
            used = spoken(self.plan, tile, cell)
            if used is None or not touches_aoi(self.scene, used):
                continue
            chip = read_chip(self.seen, cell.read)
            own = read_chip(self.scene, used) if self.plan.resampled else chip
            if cell in place_of:
                digests[place_of[cell]] = digest(chip) if own is chip else digest(chip, own)
            rows, cols = used.relative_to(own.window).slices
            place = used.relative_to(tile.core).slices
            valid[place] = own.valid[rows, cols]
            if own.masked is not None:
                masked[place] = own.masked[rows, cols]
            if valid[place].any():
                yield cell, chip


def _batches(items: Iterator[tuple[Cell, Chip]], size: int) -> Iterator[list[tuple[Cell, Chip]]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def digest(*chips: Chip) -> NDArray[np.uint8]:
    """Digest (byte,) of everything that was read: stored numbers, what of them is present, valid, masked and why.

    The head of SHA-256, for which processors have instructions: 2 ms for six bands of 512², BLAKE2b takes twice that.
    """
    seen = hashlib.sha256()
    for chip in chips:
        for array in (chip.data, chip.present, chip.valid, chip.masked):
            if array is not None:
                seen.update(f"{array.dtype.str}{array.shape}".encode())
                seen.update(np.ascontiguousarray(np.packbits(array) if array.dtype == bool else array).data)
    return np.frombuffer(seen.digest()[:DIGEST_BYTES], np.uint8)


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
        resolve(replace(PredictSettings(), **asdict(asked)))
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
    """Addresses and GDAL's virtual paths, which no file system knows, stay as they are."""
    return path if is_remote(path) or not Path(path).exists() else str(Path(path).absolute())
