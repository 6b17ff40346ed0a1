"""Maps and images as PNG or JPEG, inside the page that shows them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.classes import ClassScheme, Color

AGREE: Color = (203, 213, 222)
DIFFER: Color = (213, 94, 0)
"""Vermilion, which people who see no red or no green tell from the gray."""
MOST_BYTES = 1_700_000
"""Of a picture's file; two of them, a third longer as text, leave a page below 5 MB."""
LOSSLESS_PX = 1 << 18
"""Images up to here are PNG: few pixels are looked at closely."""
_SMALLER = 0.75
_PNG_LEVEL = 4
"""A third of the time of the usual level 6, for a file 1 % larger."""


@dataclass(frozen=True)
class Picture:
    """A picture inside a page."""

    address: str
    """`data:` address."""
    width: int
    height: int
    """Pixels of the file."""


def label_picture(labels: NDArray[Any], scheme: ClassScheme) -> str:
    """Labels (row, col) in the classes' colors as a `data:` address; transparent from the number of classes on."""
    colors = np.array([c.color for c in scheme.classes], np.uint8)
    return _png(colors[np.minimum(labels, len(scheme) - 1)], labels < len(scheme))


def difference_picture(reference: NDArray[Any], predicted: NDArray[Any], n: int) -> str:
    """Where two maps of n classes agree and where they differ; transparent where not both have a class."""
    colors = np.array([DIFFER, AGREE], np.uint8)
    return _png(colors[(reference == predicted).astype(np.intp)], (reference < n) & (predicted < n))


def photo_picture(image: NDArray[np.uint8]) -> Picture:
    """An image (row, col, 3), made smaller where its file would be larger than `MOST_BYTES`."""

    def encoded(shape: tuple[int, int]) -> bytes:
        page = Image.fromarray(np.ascontiguousarray(image))
        if shape != image.shape[:2]:
            page = page.resize(shape[::-1], Image.Resampling.LANCZOS)
        file = BytesIO()
        if page.width * page.height <= LOSSLESS_PX:
            page.save(file, "PNG", optimize=True)
        else:
            page.save(file, "JPEG", quality=87)
        return file.getvalue()

    return _fitting(encoded, image.shape[:2])


def indexed_picture(codes: NDArray[Any], groups: Sequence[Sequence[int]], colors: Sequence[Color]) -> Picture:
    """A map as a PNG whose palette entry i shows the codes of group i: whoever changes the palette switches groups.

    Made smaller, by nearest neighbor, where its file would be larger than `MOST_BYTES`.

    Args:
        codes: (row, col) class codes.
        groups: of codes; each occurs in one of at most 256.
        colors: one a group.

    Raises:
        ValueError: `codes` holds one that is in no group, or there are too many groups.
    """
    if not 0 < len(groups) <= 256:
        raise ValueError(f"{len(groups)} groups of codes do not fit a palette of 256.")
    index = _group_index(codes, groups)

    def encoded(shape: tuple[int, int]) -> bytes:
        (height, width), (rows, cols) = shape, index.shape
        row = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
        col = ((np.arange(width) + 0.5) * cols / width).astype(np.intp)
        shown = index if shape == index.shape else index[np.ix_(row, col)]
        page = Image.frombytes("P", shape[::-1], shown.tobytes())
        page.putpalette(bytes(part for color in colors for part in color))
        file = BytesIO()
        page.save(file, "PNG", transparency=bytes([255] * len(groups)), compress_level=_PNG_LEVEL)
        return file.getvalue()

    return _fitting(encoded, index.shape)


def _group_index(codes: NDArray[Any], groups: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Number of the group of each code."""
    group_of = {code: number for number, group in enumerate(groups) for code in group}
    small = codes.dtype == np.uint8  # then each code is searched once, not each pixel
    index = _searched(np.arange(256), group_of)[codes] if small else _searched(codes, group_of)
    strange = index < 0
    if strange.any():
        raise ValueError(f"code {codes[strange].flat[0]} is in no group.")
    found: NDArray[np.uint8] = index.astype(np.uint8)
    return found


def _searched(codes: NDArray[Any], group_of: Mapping[int, int]) -> NDArray[np.int16]:
    """Number of the group of each code, −1 of those in none."""
    known = np.array(sorted(group_of), np.int64)
    numbers = np.array([group_of[code] for code in known.tolist()], np.int16)
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[place] == codes, numbers[place], np.int16(-1))


def _fitting(encoded: Callable[[tuple[int, int]], bytes], shape: tuple[int, ...]) -> Picture:
    height, width = shape
    while len(content := encoded((height, width))) > MOST_BYTES:
        height, width = max(1, int(height * _SMALLER)), max(1, int(width * _SMALLER))
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return Picture(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}", width, height)


def _png(colors: NDArray[np.uint8], shown: NDArray[np.bool_]) -> str:
    """(row, col, 3) and where it is to be seen → PNG."""
    alpha = np.where(shown, np.uint8(255), np.uint8(0))
    file = BytesIO()
    Image.fromarray(np.dstack((colors, alpha))).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
