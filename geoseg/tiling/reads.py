"""What each chip of a scene read, as digests: by them a later run knows which chips it need not predict again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip
from geoseg.tiling.plan import Cell, TilePlan
from geoseg.tiling.seam import Pair, pairs_of

if TYPE_CHECKING:
    from geoseg.tiling.result import TileResult

DIGEST_BYTES = 16
"""Bytes of the digest of what a chip reads."""

PairKey = tuple[int, int, bool]
"""Row and column of a sampled pair's first cell, and whether the second lies below."""


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


def no_digests(count: int = 0) -> NDArray[np.uint8]:
    """(count, byte) digests of nothing."""
    return np.zeros((count, DIGEST_BYTES), np.uint8)


class SceneReads:
    """Digests of all chips of a plan's lattice, and what its sampled pairs of chips gave; picklable.

    They are the same for every tile size. Memory: 16 bytes a chip.

    Attributes:
        digests: (row, col, byte) by place on the lattice; 0 where nothing was read.
        seams: of each sampled pair that was compared, the digest (byte,) of what both chips read, and the counts (4,)
            of `geoseg.tiling.seam.count_differences`.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.digests = np.zeros((*shape, DIGEST_BYTES), np.uint8)
        self.seams: dict[PairKey, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}

    @classmethod
    def of(cls, plan: TilePlan) -> SceneReads:
        """Nothing read yet."""
        return cls((plan.rows.count, plan.cols.count))

    def add(self, result: TileResult, plan: TilePlan) -> None:
        """Take over what a tile of the plan read."""
        tile = plan[result.number]
        for cell, found in zip(plan.reaching(tile), result.digests, strict=True):
            if found.any():
                self.digests[cell.row, cell.col] = found
        for pair, found, counts in zip(pairs_of(plan, tile), result.seam_digests, result.seam, strict=True):
            if found.any():
                self.seams[_key(pair)] = found, counts

    def has(self, cell: Cell, found: NDArray[np.uint8]) -> bool:
        """True when the cell's chip read just this."""
        return np.array_equal(self.digests[cell.row, cell.col], found)

    def counts(self, pair: Pair, found: NDArray[np.uint8]) -> NDArray[np.int64] | None:
        """What a pair gave (4,), if it read just this."""
        before, counts = self.seams.get(_key(pair), (None, None))
        return counts if before is not None and np.array_equal(before, found) else None

    def unchanged(self, later: SceneReads) -> tuple[int, int]:
        """How many chips read the same later, of how many that were read then."""
        read = later.digests.any(axis=2)
        same = (self.digests == later.digests).all(axis=2)
        return int((same & read).sum()), int(read.sum())


def _key(pair: Pair) -> PairKey:
    return pair.first.row, pair.first.col, pair.second.row > pair.first.row
