"""Values of any size become codes; the oracle is a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.io import recode
from geoseg.io.recode import Recoding

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, 2**31 - 1))
TYPES = ("uint8", "uint16", "int32", "int64")


@given(st.data())
def test_every_value_finds_its_code(data: st.DataObject) -> None:
    """Mutation seen red: a searched value taken for its neighbor without looking whether it is there."""
    code_of = data.draw(st.dictionaries(NUMBERS, NUMBERS, max_size=8))
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    info, drawn = np.iinfo(dtype), data.draw(st.lists(NUMBERS, min_size=1, max_size=20))
    values = [v for v in [*drawn, *code_of, *(k + 1 for k in code_of), info.max, info.min] if v <= info.max]
    found = Recoding(code_of, 2**31 - 1, np.int32)(np.array([values], dtype))
    assert found.dtype == np.int32
    assert found.tolist() == [[code_of.get(value, 2**31 - 1) for value in values]]


@pytest.mark.parametrize("most", [1 << 20, 1])
def test_table_and_search_agree(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(recode, "_TABLE", most)
    values = np.array([[0, 3], [70_000, -1]])
    assert Recoding({70_000: 1, 3: 2}, 9, np.uint8)(values).tolist() == [[9, 2], [1, 9]]
