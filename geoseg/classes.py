"""Land classes: what the network distinguishes and what files call it.

A class *index* (0 … n-1) lives in arrays; a class *code* is the official value in files.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError

Color = tuple[int, int, int]
MAX_CODE = 2**31 - 2
"""The next one is nodata of the widest type."""
_GOLDEN = 0.618033988749895


@dataclass(frozen=True, slots=True)
class LandClass:
    """One class: its code in files, its UTF-8 name, its color (red, green, blue; 0…255)."""

    code: int
    name: str
    color: Color
    thing: bool = False
    """True for counted objects (trees, fields), False for amorphous regions (water)."""
    group: str = ""
    """What a legend files the class under, such as `vegetation`; empty: nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.code <= MAX_CODE:
            raise ConfigError(f"class code {self.code} of {self.name!r} is outside 0…{MAX_CODE}.")
        if not self.name.strip():
            raise ConfigError(f"class {self.code} has an empty name.")
        if len(self.color) != 3 or not all(0 <= part <= 255 for part in self.color):
            raise ConfigError(f"color {self.color} of class {self.name!r} is not three numbers 0…255.")

    @property
    def hex_color(self) -> str:
        """The color as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


@dataclass(frozen=True)
class ClassScheme:
    """All classes of a map, ordered by index."""

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("a class scheme needs at least one class.")
        for what, values in (("code", self.codes), ("name", self.names)):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise ConfigError(f"class {what} {twice[0]!r} occurs twice.")

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Class codes by index."""
        return tuple(c.code for c in self.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(c.name for c in self.classes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the class raster: uint8 while all codes fit below its nodata, else uint16, else int32."""
        largest = max(self.codes)
        return np.dtype(np.uint8 if largest <= 254 else np.uint16 if largest <= 65534 else np.int32)

    @property
    def nodata(self) -> int:
        """Code that stands for "no class" in files: the largest value of the type, never a class."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def code_of_index(self) -> NDArray[Any]:
        """Lookup (256 or 65536,) from class index to code; every index beyond the classes is nodata."""
        table = np.full(np.iinfo(self.index_dtype).max + 1, self.nodata, self.dtype)
        table[: len(self)] = self.codes
        return table

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """Type of a class map (indices); its largest value means "no class"."""
        return np.dtype(np.uint8 if len(self) <= 254 else np.uint16)

    @property
    def no_index(self) -> int:
        """Index that stands for "no class" in a class map."""
        return int(np.iinfo(self.index_dtype).max)

    def by_code(self, code: int) -> LandClass:
        """The class of a code.

        Raises:
            KeyError: no class has this code.
        """
        for land_class in self.classes:
            if land_class.code == code:
                return land_class
        raise KeyError(code)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain lists and dicts, the inverse of `from_json`."""
        return [
            {"code": c.code, "name": c.name, "color": c.hex_color, "thing": c.thing}
            | ({"group": c.group} if c.group else {})
            for c in self.classes
        ]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> ClassScheme:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: a field is missing or malformed, codes or names repeat.
        """
        try:
            return cls(
                tuple(
                    LandClass(
                        code=int(row["code"]),
                        name=str(row["name"]),
                        color=parse_color(str(row["color"])),
                        thing=bool(row.get("thing", False)),
                        group=str(row.get("group", "")),
                    )
                    for row in rows
                )
            )
        except ConfigError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"class list is malformed: {error!r}; each needs code, name, color.") from error


def parse_color(text: str) -> Color:
    """`#rrggbb` → (red, green, blue).

    Raises:
        ConfigError: any other form.
    """
    digits = text.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise ConfigError(f"color {text!r} is not of the form #rrggbb.") from None
    return red, green, blue


def generated_color(code: int) -> Color:
    """A color for a class that has none; it depends on the code alone, so that maps of one legend look alike.

    Hues are a golden section apart: neighbors in the code list are far apart in color.
    """
    saturation, value = (0.65, 0.85) if code % 2 else (0.45, 0.65)
    red, green, blue = colorsys.hsv_to_rgb(code * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def placeholder(code: int) -> str:
    """What a class is called that nobody named."""
    return f"class {code}"
