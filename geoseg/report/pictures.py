"""Small maps as PNG, inside the page that shows them."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.classes import ClassScheme, Color

AGREE: Color = (203, 213, 222)
DIFFER: Color = (213, 94, 0)
"""Vermilion, which people who see no red or no green tell from the gray."""


def label_picture(labels: NDArray[Any], scheme: ClassScheme) -> str:
    """Labels (row, col) in the classes' colors as a `data:` address; transparent from the number of classes on."""
    colors = np.array([c.color for c in scheme.classes], np.uint8)
    return _png(colors[np.minimum(labels, len(scheme) - 1)], labels < len(scheme))


def difference_picture(reference: NDArray[Any], predicted: NDArray[Any], n: int) -> str:
    """Where two maps of n classes agree and where they differ; transparent where not both have a class."""
    colors = np.array([DIFFER, AGREE], np.uint8)
    return _png(colors[(reference == predicted).astype(np.intp)], (reference < n) & (predicted < n))


def _png(colors: NDArray[np.uint8], shown: NDArray[np.bool_]) -> str:
    """(row, col, 3) and where it is to be seen → PNG."""
    alpha = np.where(shown, np.uint8(255), np.uint8(0))
    file = BytesIO()
    Image.fromarray(np.dstack((colors, alpha))).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
