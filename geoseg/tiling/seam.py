"""The seam number: how often two neighboring chips disagree where both see a pixel.

Chips overlap by twice the margin. The seam lies in the middle, where both have a margin of context:

        first chip   ───────────────┼──────seam──────┼──────► ends
        second chip         begins ◄┼──────seam──────┼───────────────
        zones                       |e|     |s|s|     |e|              w pixels each

Where they differ beside the seam (s), a seam may show in the map; how often they differ at the very edge of a chip (e)
tells what trimming the margin took away. A good margin makes the first a small part of the second.

A few pairs of chips are sampled over the whole lattice, which depends on the plan alone: each pair is predicted, apart
from the map, by the tile that owns its first cell, so that the number is the same for every tiling.

A small scene of a batch would pay for a pair as much as for a fifth of its map. There `pairs_by_lot` gives one in so
many scenes a pair, so that all of them together are sampled like one raster of their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.tiling.plan import Cell, Tile, TilePlan

CHIPS_PER_PAIR = 100
"""So that the sample costs 2 % of the forward passes, half of that where a network decodes what is wanted only."""
USUAL_SHARE = f"{200 // CHIPS_PER_PAIR}%"
"""The same as a share of the forward passes."""
MOST_PAIRS = 16
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Seam:
    """How much neighboring chips disagree."""

    at_seam: float
    """Share of pixels beside the seam in which two neighboring chips give different classes."""
    at_edge: float | None
    """The same in the outermost pixels of a chip, which are trimmed; None: no valid pixel there."""
    seam_px: int
    """Pixels compared beside the seam."""
    edge_px: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Seam | None:
        """From what `count_differences` gives, summed; None when nothing was compared."""
        seam_px, seam_differ, edge_px, edge_differ = counts
        if not seam_px:
            return None
        at_edge = edge_differ / edge_px if edge_px else None
        return cls(at_seam=seam_differ / seam_px, at_edge=at_edge, seam_px=seam_px, edge_px=edge_px)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbors on the lattice, the left or upper one first."""

    first: Cell
    second: Cell


def usual_pairs(plan: TilePlan) -> int:
    """Pairs for a scene of its own: one for `CHIPS_PER_PAIR` chips, at least one, at most `MOST_PAIRS`."""
    return min(MOST_PAIRS, max(1, plan.rows.count * plan.cols.count // CHIPS_PER_PAIR))


def possible_pairs(plan: TilePlan) -> int:
    """Pairs of neighbors that see something in common."""
    rows, cols = plan.rows.count, plan.cols.count
    return rows * (cols - 1) + (rows - 1) * cols if plan.margin else 0


def pairs_by_lot(plan: TilePlan, share: float, lot: float) -> int:
    """Pairs whose forward passes are a share of the map's, on average over all lots.

    Args:
        plan: of the scene.
        share: of the forward passes, 0 to 1.
        lot: 0 to 1, 1 excluded; of a scene always the same, over scenes evenly spread.
    """
    return math.floor(plan.rows.count * plan.cols.count * share / 2 + lot)


def sampled_pairs(plan: TilePlan) -> Iterator[tuple[int, int, bool]]:
    """Row and column of the first cells of the sampled pairs, and whether the second lies below.

    Multiples of the golden ratio spread evenly for any number of pairs, and are the same everywhere.
    """
    cols, total = plan.cols.count, possible_pairs(plan)
    beside = plan.rows.count * (cols - 1)
    count = min(total, usual_pairs(plan) if plan.seam_pairs is None else plan.seam_pairs)
    for number in dict.fromkeys(int(n * _GOLDEN % 1 * total) for n in range(1, count + 1)):
        below = number >= beside
        yield (*(divmod(number - beside, cols) if below else divmod(number, cols - 1)), below)


def pairs_of(plan: TilePlan, tile: Tile) -> Iterator[Pair]:
    """The sampled pairs whose first cell belongs to a tile."""
    own = {(cell.row, cell.col): cell for cell in tile.cells}
    for row, col, below in sampled_pairs(plan):
        if (row, col) in own:
            yield Pair(own[row, col], plan.cell(row + below, col + (not below)))


def seam_zones(plan: TilePlan, pair: Pair) -> tuple[Window, ...]:
    """Windows of the network's grid that both chips see: beside the seam, then the outer edges of either chip.

    They are a stride wide on each side of the seam and at each edge (at most half a margin), and as long as the cell;
    what would lie beyond the raster is left out.
    """
    below = pair.second.row > pair.first.row
    axis, along = (plan.rows, plan.cols) if below else (plan.cols, plan.rows)
    place, lane = (pair.second.row, pair.first.col) if below else (pair.second.col, pair.first.row)
    seam, margin, width = place * axis.step, plan.margin, max(1, min(plan.stride, plan.margin // 2))
    near = (seam - width, seam + width)
    edges = ((seam - margin, seam - margin + width), (seam + margin - width, seam + margin))
    start, end = lane * along.step, (lane + 1) * along.step
    found = []
    for low, high in (near, *edges):
        if below:
            zone = Window.from_edges(left=start, top=low, right=end, bottom=high)
        else:
            zone = Window.from_edges(left=low, top=start, right=high, bottom=end)
        found.append(zone.intersection(plan.network_grid.window))
    return tuple(zone for zone in found if zone is not None)


def count_differences(
    seen: Window, zones: Sequence[Window], first: NDArray[Any], second: NDArray[Any], valid: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Pixels compared and differing beside the seam, pixels compared and differing at the edges.

    Args:
        seen: a window that both chips read.
        zones: in it, as `seam_zones` gives them.
        first: class index (row, col) over `seen`, by the first chip.
        second: the same by the second.
        valid: (row, col) over `seen`; other pixels do not count.
    """
    counts = np.zeros(4, np.int64)
    for number, zone in enumerate(zones):
        here = zone.relative_to(seen).slices
        usable = valid[here]
        differ = (first[here] != second[here]) & usable
        counts[2 * (number > 0) :][:2] += usable.sum(), differ.sum()
    return counts
