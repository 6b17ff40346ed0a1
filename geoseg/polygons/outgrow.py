"""Objects grow over the class that was drawn between them.

Maps of parcels often have three classes: background, field, boundary. The boundary class is a line of some pixels along
the outlines of fields, and half of it, or more, is field. So it is handed out: each of its pixels goes to the object
that it reaches in the fewest steps over pixel edges within the class (ties: the object whose first pixel comes first),
if that takes no more than `radius` steps. What is farther from any object stays what it is. Steps over edges keep
every object 4-connected, and a pixel depends on nothing but those within the radius.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.polygons.label import Int32s
from geoseg.polygons.landscape import Bools, Stretch


def outgrown(stretch: Stretch, things: Bools, boundary: Bools, radius: int) -> Int32s:
    """Hand the boundary class of a stretch to its objects.

    Args:
        stretch: with at least `radius` rows around it, or to the raster's frame.
        things: (component,) whether it is an object.
        boundary: (component,) whether it is of the boundary class.
        radius: steps.

    Returns:
        (row, col) component number of the core; NOTHING where no component is.
    """
    numbers = stretch.numbers.copy()
    open_ = np.append(boundary, False)[numbers]
    owned = np.append(things, False)[numbers]
    _grow(numbers, owned, open_, radius)
    return np.ascontiguousarray(numbers[stretch.core, 1:-1])


@njit(cache=True, nogil=True)
def _grow(numbers: Int32s, owned: Bools, open_: Bools, radius: int) -> None:
    """All pixels of one step before those of the next; a pixel reached from two sides in one step takes the smaller."""
    rows, cols = numbers.shape
    step = np.zeros(numbers.shape, np.int32)
    queue = np.empty(numbers.size, np.int32)
    end = 0
    for row in range(rows):
        for col in range(cols):
            if owned[row, col]:
                queue[end] = row * cols + col
                end += 1
    first = 0
    for taken in range(1, radius + 1):
        last = end
        for i in range(first, last):
            row, col = queue[i] // cols, queue[i] % cols
            for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                y, x = row + down, col + right
                if 0 <= y < rows and 0 <= x < cols and open_[y, x]:
                    if step[y, x] == 0:
                        step[y, x] = taken
                        numbers[y, x] = numbers[row, col]
                        queue[end] = y * cols + x
                        end += 1
                    elif step[y, x] == taken:
                        numbers[y, x] = min(numbers[y, x], numbers[row, col])
        first = last
