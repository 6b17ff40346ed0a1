"""Values → codes, for values of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.lookup import look_up

Ints = NDArray[np.int64]

_TABLE = 1 << 20
"""Values below this are looked up in a table, larger ones are searched for."""


@dataclass(frozen=True)
class Recoding:
    """What each value becomes; whatever it does not name becomes `other`."""

    code_of: Mapping[int, int]
    """Value, 0 or more → code."""
    other: int
    dtype: DTypeLike
    """Type of the result; holds all codes and `other`."""

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Codes of values.

        Args:
            values: integers, of any shape.
        """
        if values.dtype in (np.uint8, np.uint16) and self._is_small:
            return look_up(values, self._table)
        if self._is_small:
            inside = (values >= 0) & (values < len(self._table) - 1)
            return np.asarray(self._table[np.where(inside, values, len(self._table) - 1)])
        keys, codes = self._sorted
        at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
        return np.where(keys[at] == values, codes[at], self.other).astype(self.dtype, copy=False)

    @cached_property
    def _is_small(self) -> bool:
        return max(self.code_of, default=0) < _TABLE

    @cached_property
    def _table(self) -> NDArray[Any]:
        """Any 16-bit value can be looked up; the last entry is nobody's."""
        table = np.full(max(1 << 16, max(self.code_of, default=0) + 1) + 1, self.other, self.dtype)
        table[list(self.code_of)] = list(self.code_of.values())
        return table

    @cached_property
    def _sorted(self) -> tuple[Ints, NDArray[Any]]:
        keys = np.array(list(self.code_of), np.int64)
        order = np.argsort(keys)
        return keys[order], np.array(list(self.code_of.values()), self.dtype)[order]
