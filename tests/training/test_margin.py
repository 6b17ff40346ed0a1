from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import ConfigError
from geoseg.model.build import build
from geoseg.model.spec import Architecture, Band, ModelSpec
from geoseg.training.fit import forward_of
from geoseg.training.margin import measure_margin, mosaic, stitched


def _network(kernel: int) -> torch.nn.Module:
    """Two classes decided by a ring of weights at the kernel's outermost pixels: radius (kernel - 1) / 2 exactly."""
    spec = ModelSpec(
        name="ring",
        version="1",
        license="CC0-1.0",
        attribution="",
        architecture=Architecture(name="linear", options={"kernel": kernel}),
        bands=(Band(name="red", mean=0, std=1),),
        classes=ClassScheme((LandClass(1, "a", (0, 0, 0)), LandClass(2, "b", (1, 1, 1)))),
        gsd_m=(1, 1),
        chip=8,
        stride=1,
        margin=0,
    )
    network = build(spec)
    assert isinstance(network, torch.nn.Conv2d)
    assert network.bias is not None
    ring = torch.zeros(kernel, kernel)
    ring[[0, -1]] = ring[:, 0] = ring[:, -1] = 1
    with torch.no_grad():
        network.weight.copy_(torch.stack([ring, -ring])[:, None])
        network.bias.zero_()
    return network


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 260, 300)).astype(np.float32)


@pytest.mark.parametrize("kernel", [33, 9])
def test_margin_found_is_the_receptive_radius(noise: np.ndarray, kernel: int) -> None:
    report = measure_margin(forward_of(_network(kernel)), noise, chip=96, stride=1, tolerance=0)
    assert report.margin == kernel // 2
    assert report.disagreement[kernel // 2] == 0
    assert min(share for margin, share in report.disagreement.items() if margin < kernel // 2) > 0


def test_margin_is_a_multiple_of_the_stride(noise: np.ndarray) -> None:
    report = measure_margin(forward_of(_network(33)), noise, chip=120, stride=12, tolerance=0)
    assert report.margin == 24
    assert list(report.disagreement) == [12, 24]


def test_tolerance_allows_a_smaller_margin(noise: np.ndarray) -> None:
    forward = forward_of(_network(33))
    strict = measure_margin(forward, noise, chip=96, stride=4, tolerance=0)
    loose = measure_margin(forward, noise, chip=96, stride=4, tolerance=0.2)
    assert loose.margin < strict.margin
    assert loose.disagreement[loose.margin] < 0.2


def test_only_counted_pixels_are_compared(noise: np.ndarray) -> None:
    """Left of column 200 there is nothing to see: two in three pixels that agree whatever the margin."""
    flat = noise.copy()
    flat[:, :, :200] = 0
    counted = np.zeros(flat.shape[1:], bool)
    counted[:, 220:] = True
    forward, how = forward_of(_network(33)), {"chip": 96, "stride": 8, "tolerance": 0}
    here, everywhere = measure_margin(forward, flat, counted=counted, **how), measure_margin(forward, flat, **how)
    assert here.margin == everywhere.margin == 16
    assert here.disagreement[8] > 2 * everywhere.disagreement[8] > 0


def test_chip_without_room_is_refused_with_the_figures(noise: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"chips of 40 pixels \(8 px: "):
        measure_margin(forward_of(_network(33)), noise, chip=40, stride=8, tolerance=0)


def test_stitched_with_enough_margin_is_the_untiled_answer(noise: np.ndarray) -> None:
    forward = forward_of(_network(33))
    padded = np.pad(noise, [(0, 0), (16, 16), (16, 16)], mode="reflect")
    whole = forward(padded[None])[0].argmax(axis=0)[16:-16, 16:-16]
    np.testing.assert_array_equal(stitched(forward, noise, chip=80, margin=16), whole)
    assert (stitched(forward, noise, chip=80, margin=15) != whole).any()


def test_mosaic_places_whole_chips() -> None:
    chips = np.arange(4)[:, None, None, None] * np.ones((1, 2, 3, 5))
    whole = mosaic(chips, 2)
    assert whole.shape == (2, 6, 10)
    np.testing.assert_array_equal(whole[0, ::3, ::5], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(whole[1, :3, 5:], np.ones((3, 5)))
