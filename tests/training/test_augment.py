from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg.training import augment
from geoseg.training.augment import Planes, Sample, geometric, lose, mix, radiometric
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


def assert_turned_labels_stay(rotate: float, zoom: tuple[float, float]) -> list[float]:
    """Each label is that of the place which its pixel shows; returns the turns that were seen, in degrees."""
    image, label = _position_chip()
    options = AugmentRecipe(crop=32, zoom=zoom, rotate=rotate, flips=False)
    rng = np.random.default_rng(11)
    seen = []
    for _ in range(30):
        sample = geometric(image, torch.ones(SIDE, SIDE, dtype=torch.bool), label, options, rng)
        rows, cols = sample.image
        inside = sample.label != IGNORE
        expected = (rows // CELL) * (SIDE // CELL) + cols // CELL
        blur = 1.0 / min(zoom[0], 1)  # bilinear mixing of turned pixels
        clear = inside & (((rows + CELL / 2) % CELL - CELL / 2).abs() > blur)
        clear &= ((cols + CELL / 2) % CELL - CELL / 2).abs() > blur
        assert clear.sum() > 100
        assert torch.equal(sample.label[clear].float(), expected[clear])
        assert torch.equal(sample.present[0], inside)
        both = inside[:, 1:] & inside[:, :-1]
        along = (torch.diff(plane, dim=1)[both].mean() for plane in (rows, cols))
        seen.append(float(torch.rad2deg(torch.atan2(*along))))
    return seen


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (2.0, 2.0), (0.6, 0.6), (0.7, 2.5)])
@pytest.mark.parametrize("rotate", [10.0, 45.0, 180.0])
def test_label_stays_with_its_pixel_at_any_angle(rotate: float, zoom: tuple[float, float]) -> None:
    seen = assert_turned_labels_stay(rotate, zoom)
    assert max(map(abs, seen)) <= rotate + 0.5
    assert min(seen) < -rotate / 2
    assert max(seen) > rotate / 2


def test_the_law_of_alignment_fails_when_labels_turn_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: image and label are turned by opposite angles."""
    turned = augment._rotated

    def twisted(planes: Planes, angle: float, side: int) -> Planes:
        right, wrong = turned(planes, angle, side), turned(planes, -angle, side)
        return Planes(right.pixels, right.usable, wrong.classes)

    monkeypatch.setattr(augment, "_rotated", twisted)
    with pytest.raises(AssertionError):
        assert_turned_labels_stay(45.0, (1.0, 1.0))


def test_a_turned_crop_is_filled_where_the_chip_has_room() -> None:
    """A crop of 32 turned by 45° needs 46 pixels: the chip has 64, so that nothing of it is empty."""
    image, label = _position_chip()
    rng = np.random.default_rng(1)
    for _ in range(20):
        sample = geometric(
            image, torch.ones(SIDE, SIDE, dtype=torch.bool), label, AugmentRecipe(crop=32, rotate=45), rng
        )
        assert (sample.label != IGNORE).all()


def test_single_bands_go_by_their_own_share_and_never_all() -> None:
    sample = Sample(torch.zeros(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.uint8))
    rng = np.random.default_rng(3)
    options = AugmentRecipe(drop_bands={"blue": 0.5, "swir16": 0.25})
    there = np.array([lose(sample, BANDS, options, rng).present.all(dim=(1, 2)).tolist() for _ in range(1000)])
    assert there.any(axis=1).all()
    # P(blue goes alone) = 0.5 · 0.75, P(swir16 goes alone) = 0.5 · 0.25.
    assert (~there).mean(axis=0) == pytest.approx([0.375, 0.125], abs=0.04)


def test_a_mixed_sample_is_one_or_the_other_in_all_its_planes() -> None:
    ones = Sample(torch.ones(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.uint8))
    twos = Sample(torch.full((2, 8, 8), 2.0), torch.zeros(2, 8, 8, dtype=torch.bool), torch.full((8, 8), 2).byte())
    rng, shares = np.random.default_rng(2), []
    for _ in range(50):
        mixed = mix(ones, twos, rng)
        other = mixed.label == 2
        assert torch.equal(mixed.image, torch.where(other, 2.0, 1.0).expand(2, 8, 8))
        assert torch.equal(mixed.present, ~other.expand(2, 8, 8))
        rows, cols = other.any(1), other.any(0)
        assert torch.equal(other, rows[:, None] & cols)  # a rectangle
        shares.append(float(other.float().mean()))
    assert min(shares) < 0.05
    assert max(shares) > 0.4
    assert (ones.label == 1).all()  # the arguments are left alone
