from __future__ import annotations

import numpy as np
import pytest

from geoseg.lookup import look_up, mark


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_as_numpy_indexes(dtype) -> None:
    rng = np.random.default_rng(1)
    table = rng.integers(0, 1000, 1 << 16).astype(np.int32)
    values = rng.integers(0, np.iinfo(dtype).max + 1, (40, 90)).astype(dtype)[:, ::3]
    found = look_up(values, table)
    np.testing.assert_array_equal(found, table[values])
    assert found.dtype == table.dtype
    seen = np.zeros(1 << 16, bool)
    mark(values, seen)
    np.testing.assert_array_equal(np.flatnonzero(seen), np.unique(values))


def test_short_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="too short for uint16"):
        look_up(np.zeros(3, np.uint16), np.zeros(256, np.uint8))
    with pytest.raises(ValueError, match="too short for uint8"):
        mark(np.zeros(3, np.uint8), np.zeros(255, bool))
