"""How regions of thing classes become objects: `--split`, as words and numbers.

components      the 4-connected components
watershed       parts of a component around the maxima of the distance to its rim
scores          parts of a component around the maxima of the smoothed confidence raster
scores:CLASS    what lies around the peaks of the smoothed score of one class, over all thing classes; it becomes that
                class, and what no peak reaches is no object (`geoseg.polygons.peaks`)
boundary:CLASS  a class that was drawn between objects: its pixels go to the object they touch
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from geoseg.errors import UsageError

Method = Literal["components", "watershed", "scores", "peaks", "boundary"]
"""`peaks` is what `--split scores:CLASS` says."""
NO_THINGS = "none"
"""What `--things` calls no class at all."""

_LENGTH = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|m)\s*")
_METHODS: dict[tuple[str, bool], Method] = {
    ("components", False): "components",
    ("watershed", False): "watershed",
    ("scores", False): "scores",
    ("scores", True): "peaks",
    ("boundary", True): "boundary",
}
"""First word of `--split`, and whether it names a class."""
_OWN = {
    "--split-radius": {"watershed": "64px", "scores": "2px", "boundary": "8px", "peaks": "8px"},
    "--split-depth": {"watershed": "1px", "scores": "0.05"},
    "--split-apart": {"peaks": "3px"},
    "--split-smooth": {"peaks": "2px"},
    "--split-score": {"peaks": "0.3"},
}
"""What says more about `--split`, for the methods that it can be said of, with their defaults."""
_LARGEST_PX = {"watershed": 512, "scores": 32, "boundary": 512, "peaks": 256}
_FARTHEST_PX, _SMOOTHEST_PX = 128, 32
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
    named: str = ""
    """boundary: the class between objects; peaks: the class whose score has them; by name or code. Else empty."""
    radius: Length | None = None
    """watershed: distances count up to here; scores: half the width of the smoothing kernel; boundary and
    peaks: how far an object grows."""
    depth: Length | None = None
    """watershed: maxima whose saddle is less than this below the lower one are one object."""
    depth_score: float = 0.0
    """scores: the same as a part of 1."""
    apart: Length | None = None
    """peaks: within this distance of one there is no other."""
    smooth: Length | None = None
    """peaks: half the width of the smoothing kernel."""
    least_score: float = 0.0
    """peaks: least smoothed score, 0 to 1."""

    @property
    def word(self) -> str:
        """As `--split` says it."""
        return {"boundary": f"boundary:{self.named}", "peaks": f"scores:{self.named}"}.get(self.method, self.method)

    def radius_px(self, gsd_m: float) -> int:
        """The radius in whole pixels, at least one.

        Raises:
            UsageError: it is larger than the method can take.
        """
        if self.radius is None:
            return 0
        return max(1, self._whole("--split-radius", self.radius, gsd_m, _LARGEST_PX[self.method]))

    def apart_px(self, gsd_m: float) -> int:
        """How far peaks are apart in whole pixels, at least one.

        Raises:
            UsageError: it is larger than the method can take.
        """
        return 0 if self.apart is None else max(1, self._whole("--split-apart", self.apart, gsd_m, _FARTHEST_PX))

    def smooth_px(self, gsd_m: float) -> int:
        """Half the width of the smoothing kernel in whole pixels; 0: scores stay as they are.

        Raises:
            UsageError: it is larger than the method can take.
        """
        return 0 if self.smooth is None else self._whole("--split-smooth", self.smooth, gsd_m, _SMOOTHEST_PX)

    def _whole(self, option: str, length: Length, gsd_m: float, most: int) -> int:
        pixels = round(length.pixels(gsd_m))
        if pixels > most:
            raise UsageError(
                f"{option} {length.amount:g}{length.unit} is {pixels} pixels of this raster; {self.word} takes at most "
                f"{most}."
            )
        return pixels


def parse_split(text: str, more: Mapping[str, str | None] | None = None) -> Split:
    """Read `--split` and what says more about it.

    Args:
        text: `components`, `watershed`, `scores`, `scores:CLASS` or `boundary:CLASS`.
        more: option → value; None: the method's own. `--split-radius`, `--split-apart` and `--split-smooth` are
            `16px` or `10m`, so is `--split-depth`, but with `scores` a number from 0 to 1, as `--split-score` is.

    Raises:
        UsageError: any other form.
    """
    word, colon, named = (part.strip() for part in text.partition(":"))
    method = _METHODS.get((word, bool(colon)))
    if method is None or bool(named) != bool(colon):
        raise UsageError(f"--split {text!r} is none of components, watershed, scores, scores:CLASS, boundary:CLASS.")
    radius, depth, apart, smooth, score = (
        (more or {}).get(option) or own[method] if method in own else None for option, own in _OWN.items()
    )
    share = None if depth is None or method != "scores" else _share("--split-depth", depth, "0.05", text)
    return Split(
        method,
        named,
        radius=None if radius is None else _length("--split-radius", radius),
        depth=None if depth is None or share is not None else _length("--split-depth", depth, least=0.0),
        depth_score=share or 0.0,
        apart=None if apart is None else _length("--split-apart", apart),
        smooth=None if smooth is None else _length("--split-smooth", smooth, least=0.0),
        least_score=0.0 if score is None else _share("--split-score", score, "0.3", text),
    )


def check_used(split: Split, more: Mapping[str, str | None]) -> None:
    """Refuse settings that the method has no use for.

    Raises:
        UsageError: there is one.
    """
    for option, value in more.items():
        if value is not None and split.method not in _OWN[option]:
            raise UsageError(f"{option} {value} has nothing to act on with --split {split.word}: leave it out.")


def _length(option: str, text: str, least: float = 1e-9) -> Length:
    found = _LENGTH.fullmatch(text)
    if found is None or float(found[1]) < least:
        raise UsageError(f"{option} {text!r} is no length; write 3px or 2.5m.")
    return Length(float(found[1]), "px" if found[2] == "px" else "m")


def _share(option: str, text: str, such: str, split: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{option} {text!r}: with --split {split} it is a part of the score, 0 to 1, such as {such}.")
    return share
