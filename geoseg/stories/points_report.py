"""What points say of a map: counts, estimates, and how many points could be used; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.estimators import Estimate, Estimates
from geoseg.console import aligned, format_hectares

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StratumUse:
    """A stratum, and what became of its points."""

    name: str
    pixels: int
    area_m2: float
    points: int
    """Drawn."""
    used: int
    missing: int
    """Without an answer."""
    unsure: int
    """Answered, but left out as unsure."""

    @property
    def non_response(self) -> float:
        """Share of the drawn points that could not be used."""
        return 1 - self.used / self.points if self.points else 0.0


@dataclass(frozen=True)
class PointsReport:
    """A map against points."""

    prediction: str
    points: str
    classes: tuple[str, ...]
    confidence: float
    """Of all intervals."""
    matrix: Ints | None = None
    """(map class, reference class) points."""
    unmapped: int = 0
    """Used points where the map has no class: they count for areas and producer's accuracy."""
    strata: tuple[StratumUse, ...] = ()
    estimates: Estimates | None = None
    """Of the whole population; None: without a design there is none."""
    notes: tuple[str, ...] = ()

    def estimated(
        self, *, matrix: Ints, unmapped: int, strata: tuple[StratumUse, ...], estimates: Estimates, notes: Sequence[str]
    ) -> PointsReport:
        """The report of a designed sample; adds what a reader should know before trusting it."""
        told = [*notes, *_non_response(strata), *_single(strata), *_certain(estimates, self.classes, strata)]
        if unmapped:
            told.append(
                f"{unmapped} points lie where the map has no class; they count for areas and producer's accuracy"
            )
        return replace(self, matrix=matrix, unmapped=unmapped, strata=strata, estimates=estimates, notes=tuple(told))

    def counted(self, *, matrix: Ints, unmapped: int, notes: Sequence[str]) -> PointsReport:
        """The report of points without a design."""
        return replace(self, matrix=matrix, unmapped=unmapped, notes=tuple(notes))

    @property
    def counts(self) -> Ints:
        """(map class, reference class) points."""
        n = len(self.classes)
        return np.zeros((n, n), np.int64) if self.matrix is None else self.matrix

    @property
    def total_m2(self) -> float:
        """Ground of the population."""
        return sum(stratum.area_m2 for stratum in self.strata)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: shares 0…1, areas in m² of ground, intervals at `confidence`; what is not known is null."""
        out: dict[str, Any] = {
            "prediction": self.prediction,
            "points": self.points,
            "design": self.estimates is not None,
            "confidence": self.confidence,
            "classes": list(self.classes),
            "matrix": self.counts.tolist(),
            "used": int(self.counts.sum()) + self.unmapped,
            "unmapped": self.unmapped,
            "notes": list(self.notes),
        }
        if self.estimates is None:
            return out | {"counts": self._plain_json}
        strata = [asdict(stratum) | {"non_response": stratum.non_response} for stratum in self.strata]
        return out | {"strata": strata, "estimates": self._estimates_json(self.estimates)}

    def _estimates_json(self, found: Estimates) -> dict[str, Any]:
        by_class = {}
        for name, user, producer, area, mapped in zip(
            self.classes, found.users, found.producers, found.area, found.mapped, strict=True
        ):
            share = area.to_json(self.confidence)
            by_class[name] = {
                "users_accuracy": user.to_json(self.confidence),
                "producers_accuracy": producer.to_json(self.confidence),
                "area_share": share,
                "area_m2": _times(share, self.total_m2),
                "mapped_m2": _times(mapped.to_json(self.confidence), self.total_m2),
            }
        return {
            "overall_accuracy": found.overall.to_json(self.confidence),
            "total_m2": self.total_m2,
            "classes": by_class,
            "area_matrix": found.matrix.tolist(),
        }

    def table(self) -> str:
        """The same for people: hectares and percent, ± half the confidence interval."""
        return "\n".join([aligned(*self._rows()), *self._below()])

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        sums = zip(self.classes, self.counts.sum(axis=1).tolist(), self.counts.sum(axis=0).tolist(), strict=True)
        seen = [(name, f"{mapped}", f"{there}") for name, mapped, there in sums]
        head = ["class", "mapped", "reference"]
        if self.estimates is None:
            rows = [
                [*row, _percent(user), _percent(producer)]
                for row, user, producer in zip(seen, *self._plain, strict=True)
            ]
            return [*head, "user's", "producer's"], [row for row in rows if row[1:3] != ["0", "0"]]
        found, unit = self.estimates, self.total_m2 / 1e4
        head += ["mapped ha", "area ha", "±", "user's", "±", "producer's", "±"]
        rows = []
        for row, mapped, area, *shares in zip(
            seen, found.mapped, found.area, found.users, found.producers, strict=True
        ):
            if row[1:] == ("0", "0"):
                continue
            hectares = [
                _hectares(value, unit) for value in (mapped.value, area.value, area.half_width(self.confidence))
            ]
            rows.append([*row, *hectares, *(text for share in shares for text in self._with_half(share))])
        return head, rows

    def _below(self) -> list[str]:
        n = int(self.counts.sum())
        right = int(np.trace(self.counts))
        if self.estimates is None:
            share = f", {100 * right / n:.1f} %" if n else ""
            return [f"{right} of {n} points agree{share}", *self.notes]
        value, half = self._with_half(self.estimates.overall)
        drawn = sum(stratum.points for stratum in self.strata)
        used = f"{sum(stratum.used for stratum in self.strata)} of {drawn} points used"
        return [f"overall accuracy {value} ± {half} ({100 * self.confidence:g} % confidence), {used}", *self.notes]

    def _with_half(self, share: Estimate) -> tuple[str, str]:
        return _percent(share.value), _percent(share.half_width(self.confidence))

    @property
    def _plain(self) -> tuple[list[float | None], list[float | None]]:
        """User's and producer's accuracy of the points alone, by class."""
        right, by_map, by_reference = np.diag(self.counts), self.counts.sum(axis=1), self.counts.sum(axis=0)
        return _shares(right, by_map), _shares(right, by_reference)

    @property
    def _plain_json(self) -> dict[str, Any]:
        users, producers = self._plain
        whole = _shares(np.trace(self.counts)[None], self.counts.sum()[None])[0]
        rows = zip(self.classes, users, producers, strict=True)
        return {
            "overall_accuracy": whole,
            "classes": {name: {"users_accuracy": u, "producers_accuracy": p} for name, u, p in rows},
        }


def _shares(part: Ints, whole: Ints) -> list[float | None]:
    return [p / w if w else None for p, w in zip(part.tolist(), whole.tolist(), strict=True)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _hectares(share: float | None, total_ha: float) -> str:
    return "–" if share is None else format_hectares(share * total_ha)


def _times(share: dict[str, Any], area_m2: float) -> dict[str, Any]:
    """An estimate of a share as one of square meters."""
    return {
        name: None if value is None else [v * area_m2 for v in value] if isinstance(value, list) else value * area_m2
        for name, value in share.items()
    }


def _non_response(strata: Sequence[StratumUse]) -> list[str]:
    lost = [
        f"{s.name} {s.points - s.used} of {s.points} ({s.missing} without an answer, {s.unsure} unsure)"
        for s in strata
        if s.used < s.points
    ]
    told = f"not used, by stratum: {'; '.join(lost)}; the others are taken to stand for them"
    return [told] if lost else []


def _single(strata: Sequence[StratumUse]) -> list[str]:
    names = [s.name for s in strata if s.used == 1 < s.pixels]
    return [f"no standard errors: a single usable point in {', '.join(names)}; interpret more"] if names else []


def _certain(found: Estimates, classes: Sequence[str], strata: Sequence[StratumUse]) -> list[str]:
    """A share of 1 has a standard error of 0, which is the sample's silence and not certainty."""
    if all(s.used == s.pixels for s in strata):
        return []
    kinds = {"commission": found.users, "omission, so its area may be larger": found.producers}
    names = [
        f"{name} ({kind})"
        for kind, shares in kinds.items()
        for name, share in zip(classes, shares, strict=True)
        if share.value == 1 and share.se == 0
    ]
    told = f"± 0 means that the sample met no error, not that there is none: {', '.join(names)}"
    return [told] if names else []
