"""How regions of thing classes become objects: `--split`, as words and numbers.

components      the 4-connected components
watershed       parts of a component around the maxima of the distance to its rim
scores          parts of a component around the maxima of the smoothed confidence raster
boundary:CLASS  a class that was drawn between objects: its pixels go to the object they touch
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from geoseg.errors import UsageError

Method = Literal["components", "watershed", "scores", "boundary"]
NO_THINGS = "none"
"""What `--things` calls no class at all."""

_LENGTH = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|m)\s*")
_RADIUS = {"watershed": "64px", "scores": "2px", "boundary": "8px"}
_DEPTH = {"watershed": "1px", "scores": "0.05"}
_LARGEST_PX = {"watershed": 512, "scores": 32, "boundary": 512}
"""Beyond 32 pixels sums of scores would not fit 31 bits."""


@dataclass(frozen=True)
class Length:
    """A length as the user gave it."""

    amount: float
    unit: Literal["px", "m"]

    def pixels(self, gsd_m: float) -> float:
        """In pixels of a side of `gsd_m` ground meters."""
        return self.amount if self.unit == "px" else self.amount / gsd_m


@dataclass(frozen=True)
class Split:
    """How components of thing classes are divided into objects."""

    method: Method = "components"
    boundary: str = ""
    """Class between objects, by name or code; empty but for `boundary`."""
    radius: Length | None = None
    """watershed: distances count up to here; scores: half the width of the smoothing kernel; boundary: how far an
    object grows."""
    depth: Length | None = None
    """watershed: maxima whose saddle is less than this below the lower one are one object."""
    depth_score: float = 0.0
    """scores: the same as a part of 1."""

    @property
    def moves_pixels(self) -> bool:
        """True where the class raster itself changes: pixels of the boundary class become the object's."""
        return self.method == "boundary"

    def radius_px(self, gsd_m: float) -> int:
        """The radius in whole pixels, at least one.

        Raises:
            UsageError: it is larger than the method can take.
        """
        if self.radius is None:
            return 0
        pixels, most = max(1, round(self.radius.pixels(gsd_m))), _LARGEST_PX[self.method]
        if pixels > most:
            raise UsageError(
                f"--split-radius {self.radius.amount:g}{self.radius.unit} is {pixels} pixels of this raster; "
                f"{self.method} takes at most {most}."
            )
        return pixels


def parse_split(text: str, radius: str | None = None, depth: str | None = None) -> Split:
    """Read `--split`, `--split-radius` and `--split-depth`.

    Args:
        text: `components`, `watershed`, `scores` or `boundary:CLASS`.
        radius: `16px` or `10m`; None: the method's own.
        depth: `1px` or `0.6m`, for scores a number from 0 to 1; None: the method's own.

    Raises:
        UsageError: any other form.
    """
    word, _, boundary = text.partition(":")
    if word not in get_args(Method) or bool(boundary.strip()) != (word == "boundary"):
        known = ", ".join(name for name in get_args(Method) if name != "boundary")
        raise UsageError(f"--split {text!r} is none of {known}, boundary:CLASS.")
    if word == "components":
        return Split()
    reach = _length("--split-radius", radius or _RADIUS[word])
    if word == "boundary":
        return Split("boundary", boundary.strip(), reach)
    if word == "scores":
        return Split("scores", radius=reach, depth_score=_share(depth or _DEPTH[word]))
    return Split("watershed", radius=reach, depth=_length("--split-depth", depth or _DEPTH[word], least=0.0))


def check_used(split: Split, radius: str | None, depth: str | None) -> None:
    """Refuse settings that the method has no use for.

    Raises:
        UsageError: there is one.
    """
    for option, value, known_by in (("--split-radius", radius, _RADIUS), ("--split-depth", depth, _DEPTH)):
        if value is not None and split.method not in known_by:
            raise UsageError(f"{option} {value} has nothing to act on with --split {split.method}: leave it out.")


def _length(option: str, text: str, least: float = 1e-9) -> Length:
    found = _LENGTH.fullmatch(text)
    if found is None or float(found[1]) < least:
        raise UsageError(f"{option} {text!r} is no length; write 3px or 2.5m.")
    return Length(float(found[1]), "px" if found[2] == "px" else "m")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(
            f"--split-depth {text!r}: with --split scores it is a part of the score, 0 to 1, such as 0.05."
        )
    return share
