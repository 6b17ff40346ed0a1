"""What the device makes of scores is what NumPy makes of them, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.classes import ClassScheme, LandClass
from geoseg.grid import Window
from geoseg.legend import Merge
from geoseg.model import reduce as room
from geoseg.model.reduce import Reduction, reduce
from geoseg.settings import SCORE_LAYERS
from geoseg.tiling.blend import classify


def scheme_of(count):
    return ClassScheme(tuple(LandClass(i, f"c{i}", (0, 0, 0)) for i in range(count)))


@st.composite
def cases(draw):
    classes, height, width = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    # Few values, so that classes tie and codes fall on halves.
    value = st.one_of(st.sampled_from([0.0, 0.5 / 255, 2.5 / 255, 0.25, 1 / 3, 1.0]), st.floats(0, 1, width=32))
    scores = draw(hnp.arrays(np.float32, (classes, height, width), elements=value.map(np.float32)))
    layers = tuple(draw(st.sets(st.sampled_from(SCORE_LAYERS))))
    out = draw(st.integers(1, classes))
    merge = Merge(scheme_of(out), tuple(draw(st.lists(st.integers(0, out - 1), min_size=classes, max_size=classes))))
    return scores, layers, draw(st.sampled_from([None, merge]))


def assert_equal(scores, layers, merge):
    how = Reduction(None if merge is None else merge.index_of, 0 if merge is None else len(merge.scheme), layers)
    kept = {name: found.numpy() for name, found in reduce(torch.from_numpy(scores), how).items()}
    scheme = scheme_of(len(scores)) if merge is None else merge.scheme
    taken = scores if merge is None else merge.scores(scores)
    valid = np.ones(scores.shape[1:], bool)
    expected = classify(taken, valid, Window(0, 0, *valid.shape[::-1]), scheme, layers=layers)
    found = kept.pop("index")
    np.testing.assert_array_equal(found, expected.index)
    assert found.dtype == expected.index.dtype
    assert kept.keys() == expected.scores.keys()
    for name, layer in expected.scores.items():
        np.testing.assert_array_equal(kept[name], layer)
        assert kept[name].dtype == layer.dtype


@given(cases())
def test_the_device_answers_what_numpy_answers(case):
    assert_equal(*case)


@pytest.mark.parametrize("classes", [254, 255, 300])
def test_many_classes_need_wider_indices(classes):
    scores = np.random.default_rng(0).random((classes, 3, 4), dtype=np.float32)
    scores[-1, 0, 0] = 2
    assert_equal(scores, ("confidence",), None)


@pytest.mark.parametrize(
    ("layer", "mutation"),
    [("confidence", lambda values: (values * 255 + 0.5).floor().clamp(1, 255).to(torch.uint8))],
)
def test_another_rounding_would_be_seen(monkeypatch, layer, mutation):
    """Mutation: halves go up instead of to the even neighbor."""
    scores = np.full((1, 1, 1), np.float32(2.5) / np.float32(255), np.float32)
    assert np.float32(scores[0, 0, 0]) * np.float32(255) == 2.5
    assert_equal(scores, (layer,), None)
    monkeypatch.setattr(room, "_coded", mutation)
    with pytest.raises(AssertionError):
        assert_equal(scores, (layer,), None)
