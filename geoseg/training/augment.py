"""Training samples from chips: other places in the chip, other pixel sizes, other atmospheres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.training.chips import IGNORE
from geoseg.training.recipe_data import BandRecipe
from geoseg.training.recipe_fit import AugmentRecipe


@dataclass(frozen=True)
class Sample:
    """One training sample before normalization."""

    image: Tensor
    """Reflectance (band, row, col)."""
    present: Tensor
    """bool (band, row, col): False enters the network as 0 after normalization (law 9)."""
    label: Tensor
    """Class index (row, col), uint8; `IGNORE` where not counted."""


def geometric(image: Tensor, valid: Tensor, label: Tensor, options: AugmentRecipe, rng: np.random.Generator) -> Sample:
    """A random crop, magnified, in a random orientation; pixels beyond the chip are invalid.

    Image and label keep their alignment: both are resampled about pixel centres.

    Args:
        image: reflectance (band, row, col).
        valid: bool (row, col).
        label: class index (row, col), uint8.
        options: crop, zoom and flips are used.
        rng: source of all randomness.
    """
    side = options.crop
    zoom = math.exp(rng.uniform(*np.log(options.zoom)))
    take = min(max(1, round(side / zoom)), *label.shape)
    size = min(side, max(1, round(take * zoom)))
    row, col = (int(rng.integers(0, n - take + 1)) for n in label.shape)
    cut = (slice(row, row + take), slice(col, col + take))
    pixels, usable, classes = image[:, *cut], valid[cut], label[cut]
    if size != take:
        to = (size, size)
        pixels = functional.interpolate(pixels[None], to, mode="bilinear", antialias=True)[0]
        share = functional.interpolate(usable[None, None].float(), to, mode="bilinear", antialias=True)[0, 0]
        usable = share > 0.999  # every pixel that was mixed in was valid
        classes = functional.interpolate(classes[None, None], to, mode="nearest-exact")[0, 0]
    if size < side:
        left, top = (int(rng.integers(0, side - size + 1)) for _ in range(2))
        frame = (left, side - size - left, top, side - size - top)
        pixels, usable = functional.pad(pixels, frame), functional.pad(usable, frame)
        classes = functional.pad(classes, frame, value=IGNORE)
    if options.flips:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        pixels, usable, classes = (_turn(part, turns, mirror) for part in (pixels, usable, classes))
    classes = torch.where(usable, classes, torch.tensor(IGNORE, dtype=torch.uint8))
    return Sample(pixels, usable.expand_as(pixels), classes)


def radiometric(
    sample: Sample, bands: tuple[BandRecipe, ...], options: AugmentRecipe, rng: np.random.Generator
) -> Sample:
    """Another sun, sensor and atmosphere: image = gain · image + haze + shift + noise, per band.

    Surface reflectance + path reflectance, falling from blue to infrared, is a first-order top-of-atmosphere
    image (Vermote et al. 1997, doi 10.1109/36.581987, eq. 1 without its multiplicative terms, which the gains cover).
    """
    count = len(bands)
    gain = rng.uniform(*options.gain) * (1 + options.band_gain * rng.uniform(-1, 1, count))
    bias = rng.normal(0, 1, count) * options.shift
    strength = rng.uniform(0, 1) if rng.uniform() < options.haze else 0.0
    bias += strength * np.array([band.haze for band in bands])
    gain32, bias32 = (torch.from_numpy(v.astype(np.float32)).view(-1, 1, 1) for v in (gain, bias))
    image = sample.image * gain32 + bias32
    if options.noise:
        grain = rng.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + options.noise * torch.from_numpy(grain)
    return Sample(image, sample.present, sample.label)


def lose(sample: Sample, bands: tuple[BandRecipe, ...], options: AugmentRecipe, rng: np.random.Generator) -> Sample:
    """Take away what a scene may lack: all optional bands, or a rectangle of pixels."""
    present, label = sample.present.clone(), sample.label
    if rng.uniform() < options.drop_optional:
        present[torch.tensor([band.optional for band in bands])] = False
    if rng.uniform() < options.erase:
        rows, cols = (np.sort(rng.integers(0, n + 1, 2)) for n in label.shape)
        hole = (slice(*map(int, rows)), slice(*map(int, cols)))
        present[:, *hole] = False
        label = label.clone()
        label[hole] = IGNORE
    return Sample(sample.image, present, label)


def _turn(plane: Tensor, turns: int, mirror: bool) -> Tensor:
    turned = torch.rot90(plane, turns, dims=(-2, -1))
    return turned.flip(-1) if mirror else turned
