"""Objects found and missed, and panoptic quality, from the pixels that segments of two maps share.

Panoptic quality is that of Kirillov et al. 2019 (arXiv 1801.00868), with the whole map as the one image: segments of
one class match where their intersection over union exceeds 0.5, which no segment can do twice;

    PQ = Σ IoU of matches / (TP + FP / 2 + FN / 2) = SQ · RQ

Void, after section 4.2 there and its authors' code (panopticapi): void pixels of the reference count in no segment of
the map, hence in no union, and a segment of the map without a match is no false positive if more than half of it is
void. Void pixels of the map are merely missed. A stuff class is one segment. Means are over classes that occur.

Objects are counted by the same matching at any thresholds from 0.5 on. A ratio without segments is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.figures import mean_of, ratio
from geoseg.accuracy.segments import VOID, Pairs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MATCH = 0.5


@dataclass(frozen=True)
class Overlaps:
    """What can match, and what is there to be matched."""

    n: int
    """Number of classes."""
    iou: Floats
    """(overlap,) of two segments of one class that share pixels."""
    label: Ints
    """(overlap,) their class."""
    predicted: Ints
    """(overlap,) place in `predicted_label`."""
    reference_label: Ints
    """(segment of the reference,) class."""
    predicted_label: Ints
    """(segment of the map,) class."""
    mostly_void: NDArray[np.bool_]
    """(segment of the map,) whether more than half of it is void in the reference."""

    def counts(self, threshold: float) -> tuple[Ints, Ints, Ints]:
        """(class,) true positives, false positives and false negatives where matches exceed a threshold ≥ 0.5."""
        matched = self.iou > threshold
        true = np.bincount(self.label[matched], minlength=self.n)
        found = np.zeros(len(self.predicted_label), np.bool_)
        found[self.predicted[matched]] = True
        false = np.bincount(self.predicted_label[~found & ~self.mostly_void], minlength=self.n)
        return true, false, np.bincount(self.reference_label, minlength=self.n) - true


def overlaps(pairs: Pairs, n: int) -> Overlaps:
    """Areas, unions and what they tell.

    Args:
        pairs: of the segments of two maps of n classes.
        n: number of classes.
    """
    mine, at = np.unique(pairs.predicted, return_inverse=True)
    theirs, of = np.unique(pairs.reference, return_inverse=True)
    area, true_area, void = (np.zeros(len(keys), np.int64) for keys in (mine, theirs, mine))
    np.add.at(area, at, pairs.pixels)
    np.add.at(true_area, of, pairs.pixels)
    unknown = pairs.reference == VOID
    np.add.at(void, at[unknown], pairs.pixels[unknown])
    real = (pairs.predicted >= 0) & (pairs.reference >= 0) & (pairs.predicted % n == pairs.reference % n)
    at, of, shared = at[real], of[real], pairs.pixels[real]
    segments = np.flatnonzero(mine >= 0)  # ascending, and void comes first
    first = len(mine) - len(segments)
    return Overlaps(
        n=n,
        iou=shared / (area[at] + true_area[of] - shared - void[at]),
        label=pairs.predicted[real] % n,
        predicted=at - first,
        reference_label=theirs[theirs >= 0] % n,
        predicted_label=mine[segments] % n,
        mostly_void=2 * void[segments] > area[segments],
    )


def panoptic_figures(
    pairs: Pairs, names: Sequence[str], things: NDArray[np.bool_], thresholds: Sequence[float]
) -> dict[str, Any]:
    """All figures of two panoptic maps.

    Args:
        pairs: of their segments.
        names: of the classes.
        things: (class,) which are things.
        thresholds: of intersection over union, at least 0.5.

    Returns:
        `pq`, `sq`, `rq`: means over classes, also of `things` and `stuff` alone; `classes`: name → `thing`, `reference`
        and `map` (numbers of segments), `pq`, `sq`, `rq`, `tp`, `fp`, `fn`, and for things `objects`; `objects`:
        threshold → `precision`, `recall`, `f1`, `tp`, `fp`, `fn` of all things.
    """
    found = overlaps(pairs, len(names))
    counts = {f"{threshold:g}": found.counts(threshold) for threshold in thresholds}
    rows = {name: _of_class(found, label, bool(things[label]), counts) for label, name in enumerate(names)}
    groups = {
        "things": [row for row in rows.values() if row["thing"]],
        "stuff": [row for row in rows.values() if not row["thing"]],
    }
    of_all = {key: _detected(*(int(count[things].sum()) for count in three)) for key, three in counts.items()}
    return {
        **_means(list(rows.values())),
        **{name: _means(group) for name, group in groups.items()},
        "objects": of_all,
        "classes": rows,
    }


def _of_class(found: Overlaps, label: int, thing: bool, counts: dict[str, tuple[Ints, Ints, Ints]]) -> dict[str, Any]:
    tp, fp, fn = (int(count[label]) for count in found.counts(MATCH))
    quality = float(found.iou[(found.label == label) & (found.iou > MATCH)].sum())
    weight = tp + (fp + fn) / 2
    row: dict[str, Any] = {
        "thing": thing,
        "reference": int((found.reference_label == label).sum()),
        "map": int((found.predicted_label == label).sum()),
        "pq": ratio(quality, weight),
        "sq": ratio(quality, tp),
        "rq": ratio(tp, weight),
        "tp": tp,
        "fp": fp,
        "fn": fn,
    }
    if thing:
        row["objects"] = {key: _detected(*(int(count[label]) for count in three)) for key, three in counts.items()}
    return row


def _detected(tp: int, fp: int, fn: int) -> dict[str, Any]:
    return {
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "tp": tp,
        "fp": fp,
        "fn": fn,
    }


def _means(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Where a class occurs but nothing of it matches, its SQ counts as 0, as the authors' code has it."""
    there = [row for row in rows if row["pq"] is not None]
    return {key: mean_of([row[key] or 0.0 for row in there]) for key in ("pq", "sq", "rq")}
