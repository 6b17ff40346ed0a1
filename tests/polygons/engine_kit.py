"""Small class maps for the tracing engine, and kernels run as plain Python so that tests can break them."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

NODATA = 255

SHAPES = {
    "one pixel": "1",
    "one pixel of nothing": ".",
    "all nodata": "... ... ...",
    "single class": "1111 1111 1111",
    "1×N": "11221.12",
    "N×1": "1 1 2 . 2 1",
    "two alike": "11 11 22",
    "checkerboard": "1212 2121 1212 2121",
    "checkerboard of nodata": "1.1. .1.1 1.1. .1.1",
    "diagonal touch": "1122 1122 2211 2211",
    "touches itself around a hole": "1111 1221 1231 1112",
    "touches itself at the frame": "1112 1221 1211 2111",
    "nodata hole": "1111 1..1 1.11 1111",
    "holes touch": "11111 12111 11211 11121 11111",
    "ring with island": "11111 12221 12321 12221 11111",
    "ring with island of its own class": "11111 12221 12121 12221 11111",
    "holes that are one outside": "1111 1.11 11.1 111.",
    "T junctions": "1111 1111 2233 2233",
    "comb": "1111111 1212121 1212121 1212121",
    "comb upside down": "1212121 1212121 1212121 1111111",
    "spiral": "11111111 22222221 11111121 12222121 12112121 12111121 12222221 11111111",
    "staircase": "1222 1122 1112 1111",
}


def text_codes(text: str) -> NDArray[np.uint8]:
    """One word a row, one character a pixel; '.' is NODATA."""
    return np.array([[NODATA if c == "." else int(c) for c in row] for row in text.split()], np.uint8)


@st.composite
def class_maps(draw: st.DrawFn, most: int = 9, classes: int = 3) -> NDArray[np.uint8]:
    """Random maps with nodata, of blocks or of single pixels."""
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    values = draw(st.lists(st.sampled_from([*range(classes), NODATA]), min_size=1, max_size=height * width))
    seed, block = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 1, 2, 3]))
    cells = np.random.default_rng(seed).choice(np.array(values, np.uint8), (height, width))
    return cells.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]


def interpreted(kernels: ModuleType, **broken: Any) -> dict[str, Any]:
    """The compiled functions of a module as plain Python, some of them replaced."""
    names = vars(kernels).copy()
    for name, value in vars(kernels).items():
        if hasattr(value, "py_func"):
            names[name] = FunctionType(value.py_func.__code__, names, name)
    names.update(broken)
    return names
