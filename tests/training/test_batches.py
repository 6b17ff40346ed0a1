"""The batches of an epoch depend on seed, epoch and place alone."""

from __future__ import annotations

import threading

import pytest
import torch
from fit_kit import chip_set, fit_recipe, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.training.batches import Batches, steps_per_epoch
from geoseg.training.chips import ChipSet

CHIPS = chip_set(7)
AUGMENT = {"zoom": [0.7, 2.0], "rotate": 30, "gain": [0.8, 1.2], "noise": 0.01, "erase": 0.3, "mix": 0.5}


def batches(epoch: int = 0, *, rank: int = 0, ranks: int = 1, chips: ChipSet = CHIPS, **fit: object) -> Batches:
    recipe = fit_recipe(augment=AUGMENT, **fit)
    return Batches(chips, recipe, spec_of(recipe), epoch, rank, ranks)


def same(ours: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(one[key], two[key]) for one, two in zip(ours, theirs, strict=True) for key in ("image", "mask")
    )


def assert_epochs_repeat(seed: int, epoch: int, readers: int, batch: int) -> None:
    """Read ahead or not, after other epochs or at once: the same batches."""
    expected = list(batches(epoch, seed=seed, readers=0, batch=batch))
    list(batches(0, seed=seed, readers=0, batch=batch))
    assert same(list(batches(epoch, seed=seed, readers=readers, batch=batch)), expected)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 300), readers=st.integers(0, 3), batch=st.integers(1, 5))
def test_an_epoch_is_the_same_whoever_prepares_it_and_whatever_came_before(seed, epoch, readers, batch) -> None:
    assert_epochs_repeat(seed, epoch, readers, batch)


def test_the_law_fails_when_all_samples_draw_from_one_generator(monkeypatch) -> None:
    """The mutation: one generator runs through all samples, as long as the process lives."""
    shared = batches()._rng(0)
    monkeypatch.setattr(Batches, "_rng", lambda _self, _number: shared)
    with pytest.raises(AssertionError):
        assert_epochs_repeat(1, 2, 0, 2)


def test_epochs_and_seeds_differ() -> None:
    first = list(batches(0))
    assert not same(list(batches(1)), first)
    assert not same(list(batches(0, seed=4)), first)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_what_one_device_would_see(ranks) -> None:
    """Batch n of rank r is the batch n·ranks + r of all; every rank has equally many."""
    alone = batches()
    for rank in range(ranks):
        mine = list(batches(rank=rank, ranks=ranks))
        assert len(mine) == steps_per_epoch(len(CHIPS), 2 * ranks)
        assert all(len(batch["mask"]) == 2 for batch in mine)
        for number, batch in enumerate(mine):
            theirs = number * ranks + rank
            if theirs < len(CHIPS) // 2:
                assert same([batch], [alone.batch(theirs)])


@pytest.mark.parametrize(
    ("chips", "batch", "steps"), [(1, 4, 1), (4, 4, 1), (5, 4, 1), (6, 4, 2), (8, 4, 2), (9, 4, 2)]
)
def test_a_last_batch_of_one_is_left_out(chips, batch, steps) -> None:
    assert steps_per_epoch(chips, batch) == steps


def test_readers_stop_with_the_one_who_listens() -> None:
    listening = iter(batches(readers=2))
    next(listening)
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
    assert readers
    listening.close()
    for thread in readers:
        thread.join(60)
    assert not any(thread.is_alive() for thread in readers)


def test_an_unusable_chip_ends_the_epoch_with_its_error() -> None:
    broken = ChipSet(CHIPS.images[:, :1], CHIPS.valid, CHIPS.labels, CHIPS.splits, CHIPS.places)
    with pytest.raises(IndexError):
        list(batches(chips=broken, readers=1))
