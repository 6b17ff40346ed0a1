"""Files of the form in which TorchGeo's networks are published: seeded weights whose answer shows every class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from builders import write_raster
from cli_kit import cut

from geoseg.model.build import build
from geoseg.model.published import PUBLISHED
from geoseg.model.spec import ModelSpec
from geoseg.model.torchgeo_weights import TORCHGEO

FIELDS = "torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW"
TREES = "torchgeo:Unet_Weights.OAM_RGB_RESNET34_TCD"
NO_CHECKSUM = "torchgeo:Unet_Weights.SENTINEL2_FTW_PRUE_EFNETB3"
SMALL = "tu-mobilenetv3_small_050"
SIDE = 96
MARGIN = 64


def small(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if networks had a small encoder: for tests in which it does not matter."""
    for name in names:
        monkeypatch.setitem(TORCHGEO, name, replace(TORCHGEO[name], encoder=SMALL))


def publish(monkeypatch: pytest.MonkeyPatch, name: str, file: Path) -> None:
    """As if a file were the published one, with as many digits of its checksum as are known of that."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    digits = len(PUBLISHED[name].file_sha256 or "")
    monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], file_sha256=digest[:digits] or None))


def weights_file(path: Path, spec: ModelSpec, pixels: np.ndarray) -> Path:
    """A state dict as TorchGeo stores it: seeded, batch norms as the image has them, and no class wins everywhere.

    Args:
        path: of the file.
        spec: whose network.
        pixels: (band, row, col) of what the network is fed.
    """
    image = torch.from_numpy(pixels[None]).float()
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        network = build(spec).train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean of all batches: of this one
        network(image)
        logits = network.eval()(image)[0].flatten(1)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["segmentation_head.0.bias"] -= logits.median(dim=1).values
    torch.save(state, path)
    return path


def two_dates(sample: Path, folder: Path) -> tuple[Path, Path]:
    """Two dates of one place: a piece of the sample scene, and the same darker and greener."""
    first = cut(sample, folder / "harvest.tif", width=SIDE, height=SIDE)

    def later(data: np.ndarray) -> np.ndarray:
        gain = np.array([0.8, 0.9, 0.7, 1.2, 0.9, 0.8])[:, None, None]
        return np.where(data == 0, 0, data * gain + 40).astype(data.dtype)

    return first, changed(first, folder / "planting.tif", later)


def changed(source: Path, path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A raster with other numbers and the same words about them."""
    with rasterio.open(source) as dataset:
        profile, data = dataset.profile, dataset.read()
        with rasterio.open(path, "w", **profile) as target:
            target.write(change(data))
            target.descriptions, target.scales, target.offsets = (
                dataset.descriptions,
                dataset.scales,
                dataset.offsets,
            )
    return path


def aerial(sample: Path, path: Path) -> Path:
    """Colors of the sample scene as an 8-bit image of 0.1 m."""
    piece = cut(sample, path.with_name(f"{path.stem}.16.tif"), width=SIDE, height=SIDE)
    with rasterio.open(piece) as dataset:
        data, transform, crs = dataset.read((3, 2, 1)), dataset.transform, dataset.crs
    bytes_ = np.clip(data / 12, 1, 255).astype("uint8")
    place = transform @ rasterio.Affine.scale(0.01)
    return write_raster(path, bytes_, names=("red", "green", "blue"), crs=crs, transform=place)


def mirrored(data: np.ndarray) -> np.ndarray:
    """With the margin around it that every chip has."""
    return np.pad(data, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")
