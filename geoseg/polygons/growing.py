"""An array that grows at its end in amortized constant time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Growing:
    """A list of equal rows as one array."""

    def __init__(self, values: NDArray[Any]) -> None:
        """Start with these rows, shape (row, …); their type stays unless rows of a wider one come."""
        self._data = values
        self._n = len(values)

    def __len__(self) -> int:
        return self._n

    @classmethod
    def empty(cls, dtype: DTypeLike, *row: int) -> Growing:
        """No rows of the given shape yet."""
        return cls(np.empty((0, *row), dtype))

    @property
    def values(self) -> NDArray[Any]:
        """(row, …) a view, until the next extension."""
        return self._data[: self._n]

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return self._data.nbytes

    def extend(self, values: NDArray[Any]) -> None:
        """Add rows."""
        end = self._n + len(values)
        dtype = np.result_type(self._data, values)
        if end > len(self._data) or dtype != self._data.dtype:
            grown = np.empty((max(end, 2 * self._n), *self._data.shape[1:]), dtype)
            grown[: self._n] = self.values
            self._data = grown
        self._data[self._n : end] = values
        self._n = end

    def keep(self, n: int) -> None:
        """Forget all but the first rows, and the room of the others."""
        self._data = self._data[:n].copy()
        self._n = n
