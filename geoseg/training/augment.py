"""Training samples from chips: other places in the chip, other pixel sizes, other atmospheres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.training.chips import IGNORE
from geoseg.training.recipe_data import BandRecipe
from geoseg.training.recipe_fit import AugmentRecipe

_ALL = 0.999
"""Share of valid pixels above which every pixel that was mixed in was valid."""


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
    """A random crop, magnified, turned, in a random orientation; pixels beyond the chip are invalid.

    Image and label keep their alignment: both are resampled about pixel centres.

    Args:
        image: reflectance (band, row, col).
        valid: bool (row, col).
        label: class index (row, col), uint8.
        options: crop, zoom, rotate and flips are used.
        rng: source of all randomness.
    """
    angle = math.radians(rng.uniform(-1, 1) * options.rotate) if options.rotate else 0.0
    # The square that holds the crop in every corner once it is turned.
    side = math.ceil(options.crop * (abs(math.cos(angle)) + abs(math.sin(angle))) - 1e-9)
    planes = _magnified((image, valid, label), side, math.exp(rng.uniform(*np.log(options.zoom))), rng)
    if angle:
        planes = _rotated(planes, angle, options.crop)
    if options.flips:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        planes = Planes(*(_turn(plane, turns, mirror) for plane in planes))
    classes = torch.where(planes.usable, planes.classes, torch.tensor(IGNORE, dtype=torch.uint8))
    return Sample(planes.pixels, planes.usable.expand_as(planes.pixels), classes)


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
    """Take away what a scene may lack: all optional bands, single bands, or a rectangle of pixels."""
    present, label = sample.present.clone(), sample.label
    lost = np.array([rng.uniform() < options.drop_bands.get(band.name, 0.0) for band in bands])
    if rng.uniform() < options.drop_optional:
        lost |= [band.optional for band in bands]
    if not lost.all():
        present[torch.from_numpy(lost)] = False
    if rng.uniform() < options.erase:
        hole = _rectangle(label.shape, rng)
        present[:, *hole] = False
        label = label.clone()
        label[hole] = IGNORE
    return Sample(sample.image, present, label)


def mix(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """The sample with a random rectangle of another one: its pixels, validity and labels.

    CutMix (Yun et al. 2019, arXiv 1905.04899), for labels of pixels: nothing has to be weighted.
    """
    hole = _rectangle(sample.label.shape, rng)
    image, present, label = sample.image.clone(), sample.present.clone(), sample.label.clone()
    image[:, *hole], present[:, *hole], label[hole] = other.image[:, *hole], other.present[:, *hole], other.label[hole]
    return Sample(image, present, label)


class Planes(NamedTuple):
    """What is moved together; of one size."""

    pixels: Tensor
    """Reflectance (band, row, col)."""
    usable: Tensor
    """bool (row, col)."""
    classes: Tensor
    """uint8 (row, col)."""


def _magnified(planes: tuple[Tensor, Tensor, Tensor], side: int, zoom: float, rng: np.random.Generator) -> Planes:
    """A random piece of a chip, `zoom` times as large, in a random place of a square of `side` pixels."""
    pixels, usable, classes = planes
    take = min(max(1, round(side / zoom)), *classes.shape)
    size = min(side, max(1, round(take * zoom)))
    row, col = (int(rng.integers(0, n - take + 1)) for n in classes.shape)
    cut = (slice(row, row + take), slice(col, col + take))
    pixels, usable, classes = pixels[:, *cut], usable[cut], classes[cut]
    if size != take:
        to = (size, size)
        pixels = functional.interpolate(pixels[None], to, mode="bilinear", antialias=True)[0]
        share = functional.interpolate(usable[None, None].float(), to, mode="bilinear", antialias=True)[0, 0]
        usable = share > _ALL
        classes = functional.interpolate(classes[None, None], to, mode="nearest-exact")[0, 0]
    if size < side:
        left, top = (int(rng.integers(0, side - size + 1)) for _ in range(2))
        frame = (left, side - size - left, top, side - size - top)
        pixels, usable = functional.pad(pixels, frame), functional.pad(usable, frame)
        classes = functional.pad(classes, frame, value=IGNORE)
    return Planes(pixels, usable, classes)


def _rotated(planes: Planes, angle: float, side: int) -> Planes:
    """Turned about the middle by an angle in radians, cut to `side` pixels; what comes from outside is invalid."""
    wide = planes.classes.shape[0]
    # Pixel centers of the result, from its middle; align_corners=False puts −1 and 1 on the outer pixel edges.
    along = (torch.arange(side) + 0.5 - side / 2) * (2 / wide)
    down, right = torch.meshgrid(along, along, indexing="ij")
    cos, sin = math.cos(angle), math.sin(angle)
    grid = torch.stack([cos * right - sin * down, sin * right + cos * down], dim=-1)[None]
    layers = torch.cat([planes.pixels, planes.usable[None].float()])[None]
    bilinear = functional.grid_sample(layers, grid, mode="bilinear", align_corners=False)[0]
    classes = functional.grid_sample(planes.classes[None, None].float(), grid, mode="nearest", align_corners=False)
    return Planes(bilinear[:-1], bilinear[-1] > _ALL, classes[0, 0].to(torch.uint8))


def _rectangle(shape: torch.Size, rng: np.random.Generator) -> tuple[slice, slice]:
    rows, cols = (np.sort(rng.integers(0, n + 1, 2)) for n in shape)
    return slice(*map(int, rows)), slice(*map(int, cols))


def _turn(plane: Tensor, turns: int, mirror: bool) -> Tensor:
    turned = torch.rot90(plane, turns, dims=(-2, -1))
    return turned.flip(-1) if mirror else turned
