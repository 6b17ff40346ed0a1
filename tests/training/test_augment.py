from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg.training.augment import Sample, geometric, lose, radiometric
from geoseg.training.chips import IGNORE
from geoseg.training.recipe_data import BandRecipe
from geoseg.training.recipe_fit import AugmentRecipe

SIDE, CELL = 64, 16
BANDS = (BandRecipe(name="blue", haze=0.08), BandRecipe(name="swir16", haze=0.01, optional=True))


def _position_chip() -> tuple[torch.Tensor, torch.Tensor]:
    """Bands hold the pixel centre's row and column, the label the number of its 16 × 16 cell."""
    rows, cols = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    cells = (rows // CELL) * (SIDE // CELL) + cols // CELL
    return torch.stack([rows, cols]), cells.to(torch.uint8)


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (2.0, 2.0), (2.7, 2.7), (0.5, 0.5), (0.6, 3.0)])
def test_label_stays_with_its_pixel(zoom: tuple[float, float]) -> None:
    """Turns red when either of image and label is flipped, cropped or magnified about another origin."""
    image, label = _position_chip()
    options = AugmentRecipe(crop=32, zoom=zoom)
    rng = np.random.default_rng(5)
    orientations = set()
    for _ in range(40):
        sample = geometric(image, torch.ones(SIDE, SIDE, dtype=torch.bool), label, options, rng)
        rows, cols = sample.image
        assert sample.label.shape == (32, 32)
        expected = (rows // CELL) * (SIDE // CELL) + cols // CELL
        # A label cell ends at a pixel edge, and a magnified pixel is mixed near it: look half a source pixel away.
        blur = 0.5 / min(zoom[0], 1) + 1e-3
        clear = ((rows + CELL / 2) % CELL - CELL / 2).abs() > blur
        clear &= ((cols + CELL / 2) % CELL - CELL / 2).abs() > blur
        clear &= sample.label != IGNORE
        assert torch.equal(sample.label[clear].float(), expected[clear])
        inside = sample.label != IGNORE
        across = torch.diff(rows, dim=1)[inside[:, 1:] & inside[:, :-1]].mean()
        down = torch.diff(cols, dim=1)[inside[:, 1:] & inside[:, :-1]].mean()
        orientations.add((bool(across.abs() > down.abs()), bool(across + down > 0)))
    assert len(orientations) == 4  # rows run right, left, or columns do


def test_pixels_beyond_the_chip_and_invalid_ones_are_absent_and_ignored() -> None:
    image, label = _position_chip()
    valid = torch.ones(SIDE, SIDE, dtype=torch.bool)
    valid[20:30] = False
    poisoned = torch.where(valid, image, torch.tensor(1e9))
    for zoom in ((0.5, 0.5), (2.5, 2.5)):
        rng = np.random.default_rng(1)
        for _ in range(20):
            sample = geometric(poisoned, valid, label, AugmentRecipe(crop=48, zoom=zoom), rng)
            assert (sample.image[sample.present] <= SIDE).all()  # nothing invalid was mixed in
            assert torch.equal(sample.present[0], sample.label != IGNORE)


def test_radiometry_is_gain_and_haze_per_band() -> None:
    sample = Sample(torch.full((2, 4, 4), 0.2), torch.ones(2, 4, 4, dtype=torch.bool), torch.zeros(4, 4))
    options = AugmentRecipe(gain=(0.8, 1.2), haze=0.99)
    rng = np.random.default_rng(2)
    values = torch.stack([radiometric(sample, BANDS, options, rng).image[:, 0, 0] for _ in range(300)])
    # Both bands share gain and haze strength: (blue - gain·0.2) / 0.08 = (swir - gain·0.2) / 0.01.
    strength = (values[:, 0] - values[:, 1]) / 0.07
    gain = (values[:, 0] - 0.08 * strength) / 0.2
    assert strength.min() >= -1e-5
    assert 0.9 < strength.max() <= 1 + 1e-5
    assert 0.8 - 1e-4 <= gain.min() < 0.82
    assert 1.18 < gain.max() <= 1.2 + 1e-4


def test_optional_bands_go_together_and_required_ones_stay() -> None:
    sample = Sample(torch.zeros(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.uint8))
    rng = np.random.default_rng(3)
    lost = [lose(sample, BANDS, AugmentRecipe(drop_optional=0.25), rng).present for _ in range(400)]
    assert all(present[0].all() for present in lost)
    share = np.mean([not present[1].any() for present in lost])
    assert share == pytest.approx(0.25, abs=0.06)
    assert sample.present.all()  # the argument is left alone


def test_erased_pixels_are_not_counted() -> None:
    label = torch.zeros(32, 32, dtype=torch.uint8)
    sample = Sample(torch.zeros(2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool), label)
    rng = np.random.default_rng(4)
    erased = [lose(sample, BANDS, AugmentRecipe(erase=0.9), rng) for _ in range(20)]
    for one in erased:
        assert torch.equal(one.present.all(0), one.label != IGNORE)
    assert any((one.label == IGNORE).any() for one in erased)
    assert (label == 0).all()
