"""Training batches: endlessly varied samples, prepared ahead of the network and the same at every repetition."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.model.spec import ModelSpec
from geoseg.training.augment import Sample, geometric, lose, mix, radiometric
from geoseg.training.chips import ChipSet
from geoseg.training.recipe import Recipe
from geoseg.training.score import network_input

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Batches:
    """The batches of one epoch, as many for each rank; an iterable.

    Seed, epoch and place in the epoch fix a sample, so that it depends neither on who prepares it nor on what came
    before: a resumed training sees what an undisturbed one sees.
    """

    chips: ChipSet
    recipe: Recipe
    spec: ModelSpec
    epoch: int = 0
    rank: int = 0
    ranks: int = 1
    """Devices that share the epoch; each takes one batch in turn."""

    def __len__(self) -> int:
        return steps_per_epoch(len(self.chips), self.recipe.fit.batch * self.ranks)

    def __iter__(self) -> Iterator[Batch]:
        readers = self.recipe.fit.readers
        if not readers:
            yield from map(self.batch, range(len(self)))
            return
        pool, wait = ThreadPoolExecutor(readers, thread_name_prefix="reader"), True
        try:
            yield from _ahead(pool, self.batch, len(self), readers + 1)
        except GeneratorExit:
            wait = False  # see `geoseg.polygons.survey.run_ahead`
            raise
        finally:
            pool.shutdown(wait=wait, cancel_futures=True)

    def batch(self, number: int) -> Batch:
        """The batch of a number in this epoch: `image` (batch, band, row, col), `mask` (batch, row, col)."""
        size = self.recipe.fit.batch
        order = self._order
        start = (number * self.ranks + self.rank) * size
        # Ranks must have equally many batches, so the last ones may begin the order anew.
        stop = start + size if self.ranks > 1 else min(start + size, len(order))
        samples = [self.sample(int(order[place % len(order)]), place) for place in range(start, stop)]
        images, masks = zip(*samples, strict=True)
        return {
            "image": torch.stack(images).contiguous(memory_format=torch.channels_last),
            "mask": torch.stack(masks),
        }

    def sample(self, chip: int, place: int) -> tuple[Tensor, Tensor]:
        """Network input (band, row, col) and class index (row, col), int64, of a chip varied as its place says."""
        rng, share = self._rng(1 + place), self.recipe.augment.mix
        sample = self._varied(chip, rng)
        if share and rng.uniform() < share:
            sample = mix(sample, self._varied(int(rng.integers(len(self.chips))), rng), rng)
        pixels = network_input(sample.image.numpy(), sample.present.numpy(), self.spec.bands)
        return torch.from_numpy(pixels), sample.label.long()

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return self._rng(0).permutation(len(self.chips))

    def _varied(self, chip: int, rng: np.random.Generator) -> Sample:
        chips, bands, options = self.chips, self.recipe.bands, self.recipe.augment
        parts = (chips.images[chip], chips.valid[chip], chips.labels[chip])
        # Copies: torch warns of arrays that are read-only, as those in a file are.
        image, valid, label = (torch.from_numpy(np.array(part)) for part in parts)
        sample = geometric(image, valid, label, options, rng)
        return lose(radiometric(sample, bands, options, rng), bands, options, rng)

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng((self.recipe.fit.seed, self.epoch, number))


def steps_per_epoch(chips: int, batch: int) -> int:
    """Batches in an epoch; a last one of a single sample has no batch statistics to speak of and is left out."""
    return max(1, math.ceil((chips - 1) / batch))


def _ahead(pool: ThreadPoolExecutor, make: Callable[[int], Batch], count: int, most: int) -> Iterator[Batch]:
    """`make(0)`, `make(1)`, … in order, at most `most` of them begun before they are asked for."""
    begun: deque[Future[Batch]] = deque()
    for number in range(count):
        begun.append(pool.submit(make, number))
        if len(begun) == most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
