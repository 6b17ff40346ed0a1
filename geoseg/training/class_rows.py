"""Codes, names and colors for classes that only have label values."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from typing import Any

from geoseg.classes import ClassScheme, Color, LandClass
from geoseg.io.legend_file import read_legend_file
from geoseg.training.label_values import folded
from geoseg.training.recipe_data import LabelValue

_LEGENDS = ("dynamicworld", "worldcover", "nlcd")
"""Their colors are what people expect: water is blue."""
_MEANS = {
    **dict.fromkeys(("river", "lake", "pond", "ocean", "sea", "lagoon"), "water"),
    **dict.fromkeys(("wood", "woodland", "conifer", "broadleaf"), "forest"),
    **dict.fromkeys(("meadow", "pasture", "lawn"), "grass"),
    **dict.fromkeys(("field", "farm", "agriculture", "arable", "corn", "wheat"), "crop"),
    **dict.fromkeys(("marsh", "swamp", "mire", "bog"), "wetland"),
    **dict.fromkeys(("sand", "beach", "rock", "soil", "quarry"), "bare"),
    **dict.fromkeys(("urban", "town", "residential", "building", "developed", "road"), "built"),
}
"""Words of labels → words of the legends."""
_APART = 60.0
"""Euclidean distance of two colors (red, green, blue) that anyone tells apart."""


def class_rows(classes: Sequence[tuple[LabelValue, ...]], known: Sequence[ClassScheme]) -> list[dict[str, Any]]:
    """Classes as a recipe lists them.

    A whole number is its own code; texts are numbered, unless a known class of that name has a code to give. Colors
    come from known classes, then from legends that have a class of that name or of a word in it, as far as they can
    be told apart; the other classes get the color that is farthest from all.

    Args:
        classes: label values of each class, the first of which names it.
        known: classes whose codes, names (of codes) and colors count; the first that has one.
    """
    same = [_same(values[0], known) for values in classes]
    names = [_name(values[0], found) for values, found in zip(classes, same, strict=True)]
    codes = _codes([values[0] for values in classes], same)
    colors: dict[int, Color] = {}
    for index, (name, found) in enumerate(zip(names, same, strict=True)):
        wished = ([] if found is None else [found.color]) + _expected(name)
        fitting = [color for color in wished if _distance(color, colors.values()) >= _APART]
        colors |= {index: fitting[0]} if fitting else {}
    for index in range(len(classes)):
        if index not in colors:
            colors[index] = max(_palette(), key=lambda color: _distance(color, colors.values()))
    return [
        {
            "code": codes[index],
            "name": names[index],
            "color": "#{:02x}{:02x}{:02x}".format(*colors[index]),
            "labels": list(values),
        }
        for index, values in enumerate(classes)
    ]


def _same(value: LabelValue, known: Sequence[ClassScheme]) -> LandClass | None:
    """The known class of a code or a name."""
    for scheme in known:
        for c in scheme.classes:
            if c.code == value if isinstance(value, int) else folded(c.name) == folded(value):
                return c
    return None


def _name(value: LabelValue, same: LandClass | None) -> str:
    if isinstance(value, str):
        return value.strip()
    return f"class {value}" if same is None else same.name


def _codes(values: Sequence[LabelValue], same: Sequence[LandClass | None]) -> list[int]:
    taken = {value for value in values if isinstance(value, int)}
    out = []
    for value, found in zip(values, same, strict=True):
        if isinstance(value, int) and value >= 0:
            out.append(value)
            continue
        wished = [] if found is None else [found.code]
        code = next(number for number in (*wished, *_numbers(len(taken))) if number not in taken)
        taken.add(code)
        out.append(code)
    return out


def _numbers(taken: int) -> Iterable[int]:
    return range(1, taken + 2)


def _expected(name: str) -> list[Color]:
    """Colors of legends for a class of that name, then for one that shares a word with it."""
    classes = [c for legend in _LEGENDS for c in read_legend_file(legend).scheme.classes]
    equal = [c.color for c in classes if _words(c.name) == _words(name)]
    return equal + [c.color for c in classes if _words(c.name) & _words(name)]


def _words(name: str) -> frozenset[str]:
    """Words of a name, without case, plural and signs."""
    plain = "".join(char if char.isalpha() else " " for char in name.casefold())
    singular = [word.removesuffix("s") for word in plain.split()]
    return frozenset(_MEANS.get(word, word) for word in singular if len(word) > 2)


def _palette() -> list[Color]:
    tones = [(hue / 24, s, v) for s, v in ((0.75, 0.85), (0.65, 0.55), (0.4, 0.95)) for hue in range(24)]
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(*tone)) for tone in tones]  # type: ignore[misc]


def _distance(color: Color, others: Iterable[Color]) -> float:
    """To the nearest of the others."""
    return min((math.dist(color, other) for other in others), default=math.inf)
