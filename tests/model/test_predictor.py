"""Batches, precision, threads, and what happens when memory or sense runs out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from builders import argmax_model, unet_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geoseg.arrays import Chip
from geoseg.errors import ConfigError, DeviceError, ModelOutputError
from geoseg.grid import Window
from geoseg.model import predictor as predictor_module
from geoseg.model.device import Resolved
from geoseg.model.predictor import Predictor
from geoseg.model.reduce import Reduction

ONES, ZEROS = (1.0,) * 4, (0.0,) * 4


def chip(seed=0, bands=4, side=64, col=0, dtype="uint8"):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 200, (bands, side, side)).astype(dtype)
    valid = np.ones((side, side), bool)
    return Chip(data, valid[None], valid, Window(col, 0, side, side))


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return unet_model(tmp_path_factory.mktemp("predictor") / "unet.safetensors")


def load(model, batch=4, precision="fp32"):
    return Predictor.load(model, model.spec.band_names, Resolved("cpu", precision, batch))


@pytest.fixture(scope="module")
def reference(unet):
    return load(unet).scores(CHIPS, ONES, ZEROS)


CHIPS = [chip(seed, side=64 if seed % 3 else 96) for seed in range(9)]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_do_not_change_a_byte(unet, reference, batch):
    for ours, expected in zip(load(unet, batch).scores(CHIPS, ONES, ZEROS), reference, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_whole_batches_as_on_a_gpu_agree_but_for_rounding(unet, reference):
    """Kernels chosen for another shape add in another order: why a CPU goes chip by chip."""
    predictor = load(unet, 8)
    predictor.whole_batches = True
    for ours, expected in zip(predictor.scores(CHIPS, ONES, ZEROS), reference, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3)


PARTS = [(slice(0, 20), slice(5, 9)), (slice(30, 64), slice(1, 60)), (slice(7, 8), slice(63, 64))]
"""Of chips that share a batch: each in another place and of another size."""


@pytest.mark.parametrize("whole", [False, True], ids=["one by one", "one batch"])
def test_parts_of_chips_are_cut_where_they_lie(unet, whole):
    """In one batch they are cut out of what holds them all. Mutation: from its first pixel on, see below."""
    predictor, chips = load(unet, len(PARTS)), [chip(seed) for seed in range(len(PARTS))]
    expected = [scores[:, *part] for scores, part in zip(predictor.scores(chips, ONES, ZEROS), PARTS, strict=True)]
    predictor.whole_batches = whole
    agree(predictor.scores(chips, ONES, ZEROS, PARTS), expected)
    kept = predictor.reduced(chips, PARTS, Reduction(layers=("probabilities",)), ONES, ZEROS)
    for answer, scores in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(answer["index"], scores.argmax(axis=0))
        np.testing.assert_allclose(answer["probabilities"], 255 * scores, atol=1)


def agree(found, expected, *, atol=1e-3):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7 if atol else 0, atol=atol)


def test_mutation_parts_cut_at_the_corner(unet, monkeypatch):
    predictor, chips = load(unet, len(PARTS)), [chip(seed) for seed in range(len(PARTS))]
    predictor.whole_batches = True
    expected = predictor.scores(chips, ONES, ZEROS, PARTS)

    def cornered(call, scores, _around, number):
        rows, cols = (slice(0, axis.stop - axis.start) for axis in call.parts[number])
        return call.finish(scores[:, rows, cols])

    monkeypatch.setattr(predictor_module._Call, "kept", cornered)
    with pytest.raises(AssertionError):
        agree(predictor.scores(chips, ONES, ZEROS, PARTS), expected)


def test_threads_at_once_do_not_change_a_byte(unet, reference):
    predictor = load(unet)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: predictor.scores(CHIPS, ONES, ZEROS), range(6)))
    for answer in answers:
        for ours, expected in zip(answer, reference, strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_answers_come_in_the_order_of_the_chips(tmp_path):
    """Each chip holds one class only; sizes are mixed, so that batches are not in order."""
    predictor = load(argmax_model(tmp_path / "m.safetensors", 4), batch=2)
    chips = []
    for number in range(8):
        data = np.zeros((4, 8 + 8 * (number % 2), 16), "uint8")
        data[number % 4] = 50
        valid = np.ones(data.shape[1:], bool)
        chips.append(Chip(data, valid[None], valid, Window(0, 0, 16, data.shape[1])))
    for number, scores in enumerate(predictor.scores(chips, ONES, ZEROS)):
        assert scores.shape[1:] == chips[number].window.shape
        assert (scores.argmax(axis=0) == number % 4).all()


def test_no_chips_no_answers(unet):
    assert load(unet).scores([], ONES, ZEROS) == []


def test_scores_sum_to_one(reference):
    for scores in reference:
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores.sum(axis=0), 1, rtol=1e-5)
        assert scores.min() >= 0


def test_bf16_runs_on_a_cpu_and_mostly_agrees(unet, reference):
    found = load(unet, precision="bf16").scores(CHIPS, ONES, ZEROS)
    same = [(a.argmax(0) == b.argmax(0)).mean() for a, b in zip(found, reference, strict=True)]
    assert np.mean(same) > 0.95
    assert any((a != b).any() for a, b in zip(found, reference, strict=True))
    np.testing.assert_allclose(found[0].sum(axis=0), 1, rtol=1e-5)


def test_a_chip_that_lacks_nothing_is_not_masked(unet, monkeypatch):
    """A CPU leaves out a pass over the pixels; the answer is that of a mask that is True everywhere."""
    found, given = load(unet), []
    forward = found.graph.forward
    monkeypatch.setattr(
        found.graph, "forward", lambda dn, present, *rest: (given.append(present), forward(dn, present, *rest))[1]
    )
    ours = found.scores(CHIPS[:2], ONES, ZEROS)
    assert given == [None, None]
    monkeypatch.setattr(
        found.graph, "forward", lambda dn, _, *rest: forward(dn, torch.ones_like(dn[:, :1], dtype=bool), *rest)
    )
    agree(ours, found.scores(CHIPS[:2], ONES, ZEROS), atol=0)
    lacking = Chip(CHIPS[0].data, CHIPS[0].present.copy(), CHIPS[0].valid, CHIPS[0].window)
    lacking.present[0, 3, 4] = False
    monkeypatch.undo()
    assert (load(unet).scores([lacking], ONES, ZEROS)[0] != ours[0]).any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_every_stored_type_is_the_same_number(unet, dtype):
    expected = load(unet).scores([Chip(c.data // 2, c.present, c.valid, c.window) for c in CHIPS[:1]], ONES, ZEROS)
    chips = [Chip((c.data // 2).astype(dtype), c.present, c.valid, c.window) for c in CHIPS[:1]]
    np.testing.assert_array_equal(load(unet).scores(chips, ONES, ZEROS), expected)


def test_large_numbers_of_uint16_survive(tmp_path):
    """40 000 is negative in int16."""
    data = np.array([40_000, 30_000], "uint16").reshape(2, 1, 1)
    one = np.ones((1, 1), bool)
    predictor = load(argmax_model(tmp_path / "m.safetensors", 2))
    (scores,) = predictor.scores([Chip(data, one[None], one, Window(0, 0, 1, 1))], (1e-3, 1e-3), (0.0, 0.0))
    assert scores.argmax(axis=0) == 0


class SmallMemory(nn.Module):
    """Answers the first band twice; a batch of more than `room` chips does not fit."""

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.batches = []

    def forward(self, dn, _present, scale, _offset, _trim=0):
        self.batches.append(len(dn))
        if len(dn) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return dn[:, :2].float() * scale[:, :2]


def with_room_for(room, batch):
    predictor = Predictor(SmallMemory(room), Resolved("cpu", "fp32", batch))
    predictor.whole_batches = True
    return predictor


@given(room=st.integers(1, 20), batch=st.integers(1, 20), count=st.integers(1, 25))
def test_out_of_memory_halves_the_batch_until_it_fits(room, batch, count):
    predictor = with_room_for(room, batch)
    chips = [chip(seed, side=2) for seed in range(count)]
    answers = predictor.scores(chips, ONES, ZEROS)
    for scores, expected in zip(answers, chips, strict=True):
        np.testing.assert_array_equal(scores, expected.data[:2])
    assert predictor.batch_size <= max(room, 1)
    assert predictor.batch_size == batch or batch > room
    sizes = dict.fromkeys(predictor.graph.batches)
    halvings = len(sizes) - 1
    assert predictor.take_events() == tuple(
        f"out of memory on cpu: batch {a} halved to {b}" for a, b in zip(list(sizes), list(sizes)[1:], strict=False)
    )
    assert halvings == 0 or batch > room
    assert predictor.take_events() == ()


def test_the_last_batch_is_padded_to_the_same_shape():
    predictor = with_room_for(room=8, batch=4)
    predictor.scores([chip(seed, side=2) for seed in range(6)], ONES, ZEROS)
    assert predictor.graph.batches == [4, 4]


def test_one_chip_that_does_not_fit_is_a_device_error():
    predictor = with_room_for(room=0, batch=4)
    with pytest.raises(DeviceError, match=r"one chip of 64 × 64 pixels .* --chip or --device cpu") as caught:
        predictor.scores(CHIPS[1:3], ONES, ZEROS)
    assert caught.value.exit_code == 69
    assert predictor.graph.batches == [4, 2, 1]


class NoMemory(nn.Module):
    """Asks the CPU for more than there is, as torch itself words it."""

    def forward(self, _dn, _present, _scale, _offset, _trim=0):
        return torch.empty(2**60, dtype=torch.uint8)


def test_a_cpu_without_memory_is_a_device_error_and_no_bug():
    predictor = Predictor(NoMemory(), Resolved("cpu", "fp32", 4))
    with pytest.raises(DeviceError, match="does not fit into the memory of cpu"):
        predictor.scores(CHIPS[:2], ONES, ZEROS)


def test_threads_that_run_out_of_memory_together_report_it_once():
    predictor = with_room_for(room=2, batch=8)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: predictor.scores([chip(s, side=2) for s in range(8)], ONES, ZEROS), range(8)):
            assert len(answer) == 8
    assert predictor.take_events() == (
        "out of memory on cpu: batch 8 halved to 4",
        "out of memory on cpu: batch 4 halved to 2",
    )


class Broken(nn.Module):
    """One value that no class can come from, in the chips that start with 1."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, dn, _present, _scale, _offset, _trim=0):
        scores = torch.full_like(dn[:, :2], 0.5, dtype=torch.float32)
        scores[dn[:, 0, 0, 0] == 1, 0, 3, 2] = self.value
        return scores


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_answer_without_sense_names_its_window(value):
    predictor = Predictor(Broken(value), Resolved("cpu", "fp32", 4))
    chips = [chip(side=8, col=100 * number) for number in range(3)]
    for number, one in enumerate(chips):
        one.data[:, 0, 0] = number == 2
    assert len(predictor.scores(chips[:2], ONES, ZEROS)) == 2
    with pytest.raises(ModelOutputError, match="answers NaN at columns 200…207, rows 0…7") as caught:
        predictor.scores(chips, ONES, ZEROS)
    assert caught.value.exit_code == 70


def test_nan_logits_of_a_real_network_are_an_error(unet):
    """Finite weights and finite input, but the arithmetic overflows."""
    predictor = load(unet)
    with pytest.raises(ModelOutputError):
        predictor.scores(CHIPS[:1], (1e38,) * 4, ZEROS)


def test_a_model_that_is_gone_is_a_device_error(tmp_path):
    model = argmax_model(tmp_path / "m.safetensors", 2)
    model.path.unlink()
    with pytest.raises(DeviceError, match="cannot be read on this worker"):
        load(model)


def test_weights_must_be_those_of_the_architecture(tmp_path, unet):
    other = argmax_model(tmp_path / "m.safetensors", 4)
    mixed = type(unet)(other.path, other.sha256, unet.spec)
    with pytest.raises(ConfigError, match="do not fit its architecture"):
        load(mixed)
