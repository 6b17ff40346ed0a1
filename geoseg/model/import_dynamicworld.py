"""Published Dynamic World weights → a model file of geoseg."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import ConfigError, InputMissingError
from geoseg.model.spec import Architecture, Band, ModelSpec
from geoseg.model.tensor_bundle import read_variables

if TYPE_CHECKING:
    import torch

Arrays = dict[str, NDArray[np.float32]]

# Low and high of the curve for B02, B03, B04, B05, B06, B07, B08, B11, B12, as published with the model.
BANDS = (
    ("blue", 1.7417268007636313, 2.023298706048351),
    ("green", 1.7261204997060209, 2.038905204308012),
    ("red", 1.6798346251414997, 2.179592821212937),
    ("rededge071", 1.7734969472909623, 2.2890068333026603),
    ("rededge075", 2.289154079164943, 2.6171674549378166),
    ("rededge078", 2.382939712192371, 2.773418590375327),
    ("nir", 2.3828939530384052, 2.7578332604178284),
    ("swir16", 2.1952484264967844, 2.789092484314204),
    ("swir22", 1.554812948247501, 2.4140534947492487),
)
CLASSES = (
    ("water", 0x419BDF),
    ("trees", 0x397D49),
    ("grass", 0x88B053),
    ("flooded_vegetation", 0x7A87C6),
    ("crops", 0xE49635),
    ("shrub_and_scrub", 0xDFC35A),
    ("built", 0xC4281B),
    ("bare", 0xA59B8F),
    ("snow_and_ice", 0xB39FE1),
)
# Unit of the network → its convolution and its batch norm in Keras' numbering (depthwise ones marked d).
UNITS = {
    "stem": ("", ""),
    "first.chain.0": ("2", "3"),
    "first.chain.1": ("d1", "4"),
    "first.chain.2": ("3", "5"),
    "first.chain.3": ("d2", "6"),
    "first.chain.4": ("4", "7"),
    "first.chain.5": ("d3", "8"),
    "first.skip": ("5", "9"),
    "second.chain.0": ("6", "10"),
    "second.chain.1": ("d4", "11"),
    "second.chain.2": ("7", "12"),
    "second.chain.3": ("d5", "13"),
    "second.chain.4": ("8", "14"),
    "second.chain.5": ("d6", "15"),
    "second.skip": ("9", "16"),
    "side.0": ("1", "1"),
    "side.1": ("d", "2"),
    "last.chain.0": ("10", "17"),
    "last.chain.1": ("d7", "18"),
    "last.chain.2": ("11", "19"),
    "last.chain.3": ("d8", "20"),
    "last.chain.4": ("12", "21"),
    "last.chain.5": ("d9", "22"),
    "last.skip": ("13", "23"),
}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
STRIDE = 2
"""As `geoseg.model.dynamicworld` has it, whose import costs that of torch: listing a contract shall not."""
RADIUS = 22
"""Receptive radius of the network in pixels, counted by its gradient; a margin of it makes tiles exact."""


def read_arrays(path: Path) -> Arrays:
    """Variables by name, from a SavedModel's folder or from an `.npz` of exported arrays (`012:layer/variable`).

    Raises:
        InputMissingError: nothing there.
        ConfigError: neither form.
    """
    if path.is_dir():
        return read_variables(path)
    if not path.is_file():
        raise InputMissingError(f"{path} does not exist; give a SavedModel's folder or an .npz of its arrays.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name.partition(":")[2] or name: stored[name].astype(np.float32) for name in stored.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is no .npz of arrays ({error}).") from error


def tensors_from(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Keras' variables → the tensors of `geoseg.model.dynamicworld.DynamicWorld`.

    Raises:
        ConfigError: a variable is missing, or has not the shape of Dynamic World's.
    """
    import torch

    from geoseg.model.dynamicworld import DynamicWorld

    tensors: dict[str, torch.Tensor] = {}
    for unit, (conv, norm) in UNITS.items():
        tensors |= _convolution(arrays, f"{unit}.0", conv)
        batch_norm = f"batch_normalization{_number(norm)}"
        for ours, theirs in _NORM.items():
            tensors[f"{unit}.1.{ours}"] = torch.from_numpy(_get(arrays, f"{batch_norm}/{theirs}").copy())
        tensors[f"{unit}.1.num_batches_tracked"] = torch.tensor(0)
    tensors |= _convolution(arrays, "head", "14")
    try:
        DynamicWorld().load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"these are not Dynamic World's variables: {' '.join(str(error).split())[:200]}") from error
    return tensors


def spec() -> ModelSpec:
    """The contract of Dynamic World: nine Sentinel-2 bands at 10 m, nine classes."""
    return ModelSpec(
        name="dynamicworld",
        version="1",
        license="Apache-2.0",
        attribution="Dynamic World (Google, World Resources Institute), Brown et al. 2022, 10.1038/s41597-022-01307-4",
        architecture=Architecture(name="dynamicworld"),
        bands=tuple(
            Band(name=name, mean=low, std=high, scale=1e4, curve="log_sigmoid", plausible=(-0.2, 2.0))
            for name, low, high in BANDS
        ),
        classes=ClassScheme(
            tuple(LandClass(code, name, (c >> 16, c >> 8 & 255, c & 255)) for code, (name, c) in enumerate(CLASSES))
        ),
        gsd_m=(10.0, 10.0),
        chip=512,
        stride=STRIDE,
        margin=RADIUS,
        purpose="Land cover from Sentinel-2 level 1C (top of atmosphere) at 10 m, anywhere, cloud-free pixels.",
        training_data=({"name": "Dynamic World training dataset, Tait et al. 2021", "license": "CC BY 4.0"},),
    )


def _number(text: str) -> str:
    return f"_{text}" if text else ""


def _convolution(arrays: Arrays, name: str, number: str) -> dict[str, torch.Tensor]:
    """Kernels (row, col, in, out) → (out, in, row, col); depthwise ones (row, col, channel, 1) → (channel, 1, …)."""
    import torch

    deep = number.startswith("d")
    layer = f"depthwise_conv2d{_number(number[1:])}" if deep else f"conv2d{_number(number)}"
    kernel = _get(arrays, f"{layer}/{'depthwise_kernel' if deep else 'kernel'}")
    order = (2, 3, 0, 1) if deep else (3, 2, 0, 1)
    return {
        f"{name}.weight": torch.from_numpy(np.ascontiguousarray(kernel.transpose(order))),
        f"{name}.bias": torch.from_numpy(_get(arrays, f"{layer}/bias").copy()),
    }


def _get(arrays: Arrays, name: str) -> NDArray[np.float32]:
    if name not in arrays:
        raise ConfigError(f"variable {name} is missing; these are not Dynamic World's variables.")
    return arrays[name]
