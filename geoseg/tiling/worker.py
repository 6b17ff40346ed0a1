"""What one tile does, wherever it runs: read its chips, predict them, keep each cell's own pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip, ClassMap
from geoseg.classes import ClassScheme
from geoseg.grid import Window
from geoseg.io.read import inside, read_chip, touches_aoi
from geoseg.io.remote import is_remote
from geoseg.io.scene import Scene
from geoseg.io.sparse import stores_nothing
from geoseg.legend import Merge
from geoseg.model.device import Resolved, machine_key
from geoseg.model.file import ModelRef
from geoseg.model.lean_unet import Part
from geoseg.model.reduce import Reduction
from geoseg.quality import REASONS
from geoseg.settings import Tta
from geoseg.tiling.blend import Scores, Taper, Trim, classify, spoken, stitcher
from geoseg.tiling.plan import Cell, Tile, TilePlan
from geoseg.tiling.process import check_inputs, predictor_for, process_name
from geoseg.tiling.reads import SceneReads, digest, no_digests
from geoseg.tiling.result import TileResult
from geoseg.tiling.seam import Pair, count_differences, pairs_of, seam_zones
from geoseg.tiling.tta import augmented


@dataclass
class _Reads:
    """What was read for a tile so far."""

    valid: NDArray[np.bool_]
    """(row, col) of the tile's core."""
    masked: NDArray[np.uint8]
    """(row, col) of the tile's core: why."""
    digests: NDArray[np.uint8]
    """(cell, byte) of the cells that reach into the tile."""
    changed: dict[Cell, Window] = field(default_factory=dict)
    """Chips that a finished run has not read like this, and the pixels of the core for which they speak."""

    @classmethod
    def of(cls, tile: Tile, cells: int) -> _Reads:
        """Nothing yet."""
        return cls(np.zeros(tile.core.shape, bool), np.zeros(tile.core.shape, np.uint8), no_digests(cells))


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
    known: SceneReads | None = None
    """What a finished run has read: only pixels that a chip speaks for which reads something else are predicted."""
    seen: Scene = field(init=False)
    """The scene on the network's grid."""
    machine: tuple[tuple[str, str], ...] = field(init=False)
    """What else the bytes depend on, as this process has it; each worker must have the same (law 2)."""
    home: str = field(init=False)
    """The process that made the job."""

    def __post_init__(self) -> None:
        scene = self.scene.moved(_absolute)
        object.__setattr__(self, "scene", scene)
        seen = scene.on_grid(self.plan.network_grid) if self.plan.resampled else scene
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "machine", tuple(machine_key(self.resolved).items()))
        object.__setattr__(self, "home", process_name())

    def warm_up(self, at_once: int | None = None) -> None:
        """Load the model into this process, so that the first tile does not wait for it.

        Args:
            at_once: chips that the CPU computes at the same time, while other threads read; None: as many as come.
        """
        predictor_for(self).limit(at_once)

    def __call__(self, tile: Tile) -> TileResult:
        """Class indices and score layers of the tile's core.

        Raises:
            DeviceError: this process cannot read the inputs or the model, or is another kind of machine.
            InputError: a block of an input cannot be decoded.
            ModelOutputError: the network answers NaN or infinity.
        """
        check_inputs(self, tile)
        scheme, core = self.scheme, tile.core
        index = np.full(core.shape, scheme.no_index, scheme.index_dtype)
        layers = {name: self._empty(name, core) for name in self.layers}
        predictor, stitch = predictor_for(self), stitcher(self.plan, tile)
        sent, reads = 0, _Reads.of(tile, sum(1 for _ in self.plan.reaching(tile)))

        def keep(parts: Iterable[ClassMap]) -> None:
            for part in parts:
                rows, cols = part.window.relative_to(core).slices
                lit = reads.valid[rows, cols]
                index[rows, cols] = np.where(lit, part.index, index.dtype.type(scheme.no_index))
                for name, layer in part.scores.items():
                    layers[name][..., rows, cols] = np.where(lit, layer, np.uint8(0))

        for batch in _batches(self._asked(tile, reads), predictor.batch_size):
            sent += len(batch)
            keep(self._finished(stitch, batch))
        keep(map(self._classified, stitch.finish()))
        outside = core.width - inside(self.scene, core).sum(axis=1)
        by_row = np.stack([(reads.masked == code).sum(axis=1) for code in range(1, len(REASONS) + 1)])
        seam, seam_digests = self._seam(tile)
        return TileResult(
            ClassMap(index, core, layers),
            outside,
            by_row,
            sent,
            seam,
            predictor.take_events(),
            number=tile.number,
            digests=reads.digests,
            seam_digests=seam_digests,
            fresh=None if self.known is None else tuple(reads.changed.values()),
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
            answers = predictor_for(self).reduced(chips, own, how, self.scene.scale, self.scene.offset)
            for (cell, _), kept in zip(batch, answers, strict=True):
                yield ClassMap(kept.pop("index"), cell.core, kept)
            return
        for (cell, _), scores in zip(batch, self.scores(chips), strict=True):
            yield from map(self._classified, stitch.add(cell, scores))

    def _classified(self, finished: tuple[Window, Scores]) -> ClassMap:
        window, scores = finished
        return classify(self._merged(scores), np.ones(window.shape, bool), window, self.scheme, layers=self.layers)

    def scores(self, chips: Sequence[Chip], parts: Sequence[Part] | None = None) -> list[Scores]:
        """Scores (class, row, col) of each chip, or of the part of it that is wanted, of the model's classes.

        Raises:
            DeviceError: see `__call__`.
            ModelOutputError: see `__call__`.
        """
        predictor, radiometry = predictor_for(self), (self.scene.scale, self.scene.offset)
        if self.tta == "none":
            return predictor.scores(chips, *radiometry, parts)
        whole = augmented(lambda views: predictor.scores(views, *radiometry), chips, self.tta)
        return whole if parts is None else [scores[(..., *part)] for scores, part in zip(whole, parts, strict=True)]

    def _merged(self, scores: Scores) -> Scores:
        """Scores of the output's classes."""
        return scores if self.merge is None else self.merge.scores(scores)

    def _seam(self, tile: Tile) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """How much each sampled pair of neighboring chips differs (pair, 4), and the digest (pair, byte) of its reads.

        A pair belongs to the tile that owns its first cell.
        """
        pairs = list(pairs_of(self.plan, tile))
        counts, digests = np.zeros((len(pairs), 4), np.int64), no_digests(len(pairs))
        for number, pair in enumerate(pairs):
            # By the first cell alone: that the tile is computed at all must not matter.
            if touches_aoi(self.scene, pair.first.core):
                chips = [read_chip(self.seen, cell.read) for cell in (pair.first, pair.second)]
                digests[number] = digest(*chips)
                known = None if self.known is None else self.known.counts(pair, digests[number])
                counts[number] = self._differences(pair, chips) if known is None else known
        return counts, digests

    def _differences(self, pair: Pair, chips: Sequence[Chip]) -> NDArray[np.int64]:
        zones = seam_zones(self.plan, pair)
        common = Window.around(zones)
        parts = [common.relative_to(cell.read).slices for cell in (pair.first, pair.second)]
        valid = chips[0].valid[parts[0]]
        if not any(valid[zone.relative_to(common).slices].any() for zone in zones):
            return np.zeros(4, np.int64)
        first, second = (self._merged(scores).argmax(axis=0) for scores in self.scores(chips, parts))
        return count_differences(common, zones, first, second, valid)

    def _asked(self, tile: Tile, reads: _Reads) -> Iterator[tuple[Cell, Chip]]:
        """The lit chips that speak for a pixel for which a changed chip speaks; what is read goes into `reads`."""
        lit = self._lit_chips(tile, reads)
        if self.known is None or not self.plan.tapered:
            yield from (item for item in lit if item[0] in reads.changed)
            return
        # Which chips these are is known when all are read: they are read again, since all at once might not fit.
        cells, stale = [cell for cell, _ in lit], np.zeros(tile.core.shape, bool)
        for window in reads.changed.values():
            stale[window.relative_to(tile.core).slices] = True
        stale &= reads.valid
        for cell in cells:
            used = spoken(self.plan, tile, cell)
            if used is not None and stale[used.relative_to(tile.core).slices].any():
                yield cell, read_chip(self.seen, cell.read)

    def _lit_chips(self, tile: Tile, reads: _Reads) -> Iterator[tuple[Cell, Chip]]:
        """Chips with a valid pixel where they count; the others are never sent, those off the AOI never read."""
        for number, cell in enumerate(self.plan.reaching(tile)):
            used = spoken(self.plan, tile, cell)
            if used is None or not touches_aoi(self.scene, used):
                continue
            nothing = stores_nothing(self.seen, cell.read)
            if not nothing:
                chip = read_chip(self.seen, cell.read)
                own = read_chip(self.scene, used) if self.plan.resampled else chip
                reads.digests[number] = self._digest(cell, chip, own)
            if self.known is None or not self.known.has(cell, reads.digests[number]):
                reads.changed[cell] = used
            if nothing:
                continue
            rows, cols = used.relative_to(own.window).slices
            place = used.relative_to(tile.core).slices
            reads.valid[place] = own.valid[rows, cols]
            if own.masked is not None:
                reads.masked[place] = own.masked[rows, cols]
            if reads.valid[place].any():
                yield cell, chip

    def _digest(self, cell: Cell, chip: Chip, own: Chip) -> NDArray[np.uint8]:
        """Of all that the cell's pixels depend on: its chip, and which of them are valid, whatever the tile."""
        if not self.plan.resampled:
            return digest(chip)
        return digest(chip, own if own.window == cell.core else read_chip(self.scene, cell.core))


def _batches(items: Iterator[tuple[Cell, Chip]], size: int) -> Iterator[list[tuple[Cell, Chip]]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _absolute(path: str) -> str:
    """Addresses and GDAL's virtual paths, which no file system knows, stay as they are."""
    return path if is_remote(path) or not Path(path).exists() else str(Path(path).absolute())
