"""Whether a quality layer is what its rule says: the wrong bit layout gives a mask that only looks like one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NoReturn

from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, UsageError
from geoseg.grid import Window
from geoseg.quality import RULES, QualityRule

_SIDE = 512
_PER_AXIS = 4


def check_values(path: str, dataset: Any, rule: QualityRule) -> None:
    """Refuse a layer that holds numbers which its rule's layout cannot have.

    Up to 16 blocks of 512 × 512 pixels are read, spread evenly; never overviews, whose averaged bits mean nothing.

    Raises:
        InputError: it does, or it cannot be decoded.
    """
    looked_at = count = 0
    example: list[int] = []
    for values in _samples(path, dataset, rule.bands):
        wrong = rule.impossible(values)
        looked_at += wrong.size
        count += int(wrong.sum())
        if not example and wrong.any():
            example = values[:, wrong][:, 0].tolist()
    if count:
        raise InputError(
            f"mask {path} is not {rule.name} ({rule.title}): {count} of {looked_at} pixels looked at hold what that "
            f"cannot, such as {_in_words(example)}; {_advice(path, dataset)}"
        )


def refuse_without_rule(path: str, dataset: Any) -> NoReturn:
    """Say that a raster needs a rule, and which would fit.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"mask {path} needs a rule, FILE:RULE; {_advice(path, dataset)}")


def _advice(path: str, dataset: Any) -> str:
    fitting = [
        rule.name
        for rule in RULES.values()
        if len(rule.bands) == dataset.count
        and not any(rule.impossible(values).any() for values in _samples(path, dataset, rule.bands))
    ]
    named = f"its values fit {' or '.join(fitting)}" if fitting else "its values fit no rule that has a name"
    return f"{named}; values=3,8,9 and nonzero take any."


def _in_words(values: list[int]) -> str:
    """The number with its bits in groups of four; several bands as a list."""
    if len(values) > 1:
        return f"{values} in bands 1 to {len(values)}"
    return f"{values[0]} (0b{values[0]:_b})"


def _samples(path: str, dataset: Any, bands: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """(band, row, col) stored numbers of blocks all over the layer."""
    down, across = (_spread(-(-size // _SIDE)) for size in dataset.shape)
    whole = Window(0, 0, dataset.width, dataset.height)
    for row, col in product(down, across):
        window = Window(col * _SIDE, row * _SIDE, _SIDE, _SIDE).intersection(whole)
        if window is not None:
            yield read_stored(path, dataset, bands, window)


def _spread(blocks: int) -> list[int]:
    """The numbers of up to `_PER_AXIS` of that many blocks, the first and the last among them."""
    return sorted({round(step * (blocks - 1) / (_PER_AXIS - 1)) for step in range(_PER_AXIS)})


def read_stored(path: str, dataset: Any, bands: tuple[int, ...], window: Window) -> NDArray[Any]:
    """(band, row, col) stored numbers of a window.

    Raises:
        InputError: a block cannot be decoded.
    """
    spot = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    try:
        stored: NDArray[Any] = dataset.read(list(bands), window=spot)
    except RasterioIOError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise InputError(
            f"mask {path} cannot be decoded at columns {window.col_off}…{window.col_end - 1}, "
            f"rows {window.row_off}…{window.row_end - 1} ({cause}); the file is damaged, copy it again."
        ) from error
    return stored
