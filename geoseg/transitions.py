"""From one class at a first date to another at a second: codes for maps, areas for tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from geoseg.classes import MAX_CODE, ClassScheme, Color, LandClass
from geoseg.errors import InputError

UNOBSERVED = "unobserved"
"""What tables call pixels without a class."""
_WHITE_SHARE = 0.75
_SCORE_SCALE = 255


@dataclass(frozen=True)
class PairCodes:
    """One code for each pair of classes: the first one's, then the second one's as decimal digits, 1 → 7 is 17."""

    scheme: ClassScheme
    """Classes of both dates."""

    def __post_init__(self) -> None:
        if self.largest > MAX_CODE:
            raise InputError(
                f"class codes up to {max(self.scheme.codes)} leave no room for pairs of them; "
                "give the classes smaller codes with --legend."
            )

    @property
    def base(self) -> int:
        """What the first code is multiplied with: the smallest power of ten above all codes."""
        return int(10 ** len(str(max(self.scheme.codes))))

    @property
    def largest(self) -> int:
        """The largest code that a pair may have."""
        return max(self.scheme.codes) * (self.base + 1)

    def code(self, before: int, after: int) -> int:
        """Code of a pair of class codes."""
        return before * self.base + after

    def pair(self, code: int) -> tuple[LandClass, LandClass]:
        """The classes at both dates.

        Raises:
            KeyError: there is no such pair.
        """
        before, after = divmod(code, self.base)
        return self.scheme.by_code(before), self.scheme.by_code(after)

    def classes(self, codes: Iterable[int]) -> ClassScheme:
        """Pairs as classes: changes in the color of what came, what stayed in a pale one of its own.

        Raises:
            ConfigError: there is no pair, or two have one name.
        """
        return ClassScheme(tuple(self._class(code) for code in sorted(codes)))

    def _class(self, code: int) -> LandClass:
        before, after = self.pair(code)
        color = _pale(after.color) if before == after else after.color
        return LandClass(code, f"{before.name} → {after.name}", color)


def _pale(color: Color) -> Color:
    red, green, blue = (round(part + (255 - part) * _WHITE_SHARE) for part in color)
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class Transition:
    """What became of one class."""

    from_id: int | None
    """Class code at the first date; None: unobserved."""
    from_name: str
    to_id: int | None
    """Class code at the second date; None: unobserved."""
    to_name: str
    pixels: int
    area_m2: float
    """Ground square meters."""
    from_score: float | None
    """Mean winning score at the first date, 0…1; None: unobserved, or no score raster is there."""
    to_score: float | None

    @property
    def observed(self) -> bool:
        """Whether there is a class at both dates."""
        return self.from_id is not None and self.to_id is not None

    @property
    def changed(self) -> bool:
        """Whether the two classes differ."""
        return self.observed and self.from_id != self.to_id


@dataclass(frozen=True)
class PairSum:
    """What adds up over the pixels of a pair; integers, so that sums depend on no order and cells add up exactly."""

    pixels: int = 0
    steps: int = 0
    """Ground area in steps of one size."""
    from_score: int = 0
    """Sum of score bytes at the first date."""
    to_score: int = 0

    def __add__(self, other: PairSum) -> PairSum:
        return PairSum(
            self.pixels + other.pixels,
            self.steps + other.steps,
            self.from_score + other.from_score,
            self.to_score + other.to_score,
        )


@dataclass(frozen=True)
class TransitionTable:
    """Transition matrix of two class rasters of one grid, in its cells that are not empty."""

    rows: tuple[Transition, ...]
    """By codes, those of unobserved pixels last."""

    @classmethod
    def of(
        cls,
        sums: Mapping[tuple[int | None, int | None], PairSum],
        scheme: ClassScheme,
        step_m2: Fraction,
        *,
        scored: bool,
    ) -> TransitionTable:
        """The table of sums by pair of codes.

        Args:
            sums: None stands for unobserved.
            scheme: names of the codes.
            step_m2: ground area of a step.
            scored: whether scores were summed.
        """
        name: dict[int | None, str] = {c.code: c.name for c in scheme.classes} | {None: UNOBSERVED}

        def mean(code: int | None, total: int, pixels: int) -> float | None:
            return total / (_SCORE_SCALE * pixels) if scored and code is not None else None

        def order(pair: tuple[int | None, int | None]) -> tuple[int, ...]:
            return tuple(MAX_CODE + 1 if code is None else code for code in pair)

        return cls(
            tuple(
                Transition(
                    from_id=before,
                    from_name=name[before],
                    to_id=after,
                    to_name=name[after],
                    pixels=sums[before, after].pixels,
                    area_m2=float(sums[before, after].steps * step_m2),
                    from_score=mean(before, sums[before, after].from_score, sums[before, after].pixels),
                    to_score=mean(after, sums[before, after].to_score, sums[before, after].pixels),
                )
                for before, after in sorted(sums, key=order)
            )
        )

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> TransitionTable:
        """The inverse of `dataclasses.asdict` on each row."""
        return cls(tuple(Transition(**row) for row in rows))

    @property
    def observed_m2(self) -> float:
        """Ground with a class at both dates."""
        return sum(row.area_m2 for row in self.rows if row.observed)

    @property
    def changed_m2(self) -> float:
        """Ground whose classes differ."""
        return sum(row.area_m2 for row in self.rows if row.changed)

    @property
    def before(self) -> tuple[str, ...]:
        """Names at the first date, in the order of the rows."""
        return tuple(dict.fromkeys(row.from_name for row in self.rows))

    @property
    def after(self) -> tuple[str, ...]:
        """Names at the second date, by codes, unobserved last."""
        found = {row.to_name: row.to_id for row in self.rows}
        return tuple(sorted(found, key=lambda name: MAX_CODE + 1 if found[name] is None else found[name] or 0))

    @property
    def changes(self) -> tuple[Transition, ...]:
        """What changed, largest area first."""
        found = [row for row in self.rows if row.changed]
        return tuple(sorted(found, key=lambda row: (-row.area_m2, row.from_id or 0, row.to_id or 0)))
