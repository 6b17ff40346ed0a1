"""Encoders that others publish: TorchGeo's for sensors, and those of timm and segmentation_models_pytorch.

The only part of a training that uses the network, and only when the recipe names such a start; what was fetched stays
in the libraries' caches.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, PolicyError, TemporaryError
from geoseg.model.build import build_network
from geoseg.model.published import weights_sha256
from geoseg.model.spec import Architecture, Band
from geoseg.products.preset import load_preset, word_key
from geoseg.shipped import shipped
from geoseg.training.start_model import ENCODER, UNKNOWN_LICENSE, Start

RGB = ("red", "green", "blue")
_DN = 1e4
"""Sentinel-2's DN of reflectance 1, which those who trained on its DN divided by."""
_BYTE = 255
"""What those divided by who trained on ESA's 8-bit true-color image."""
# Begin of a weights' name → sensor preset, and variant, that say what its bands are; the first that fits.
SENSORS = (
    ("SENTINEL2_", "s2-l1c", None),
    ("LANDSAT_TM_", "landsat-c2-l1", "tm"),
    ("LANDSAT_ETM_", "landsat-c2-l1", "tm"),
    ("LANDSAT_", "landsat-c2-l1", "oli"),  # SatlasPretrain's, too
)
_COLORS = {"r": "red", "g": "green", "b": "blue"}


def start_of_torchgeo(name: str) -> Start:
    """Published weights of TorchGeo, `ResNet50_Weights.SENTINEL2_ALL_MOCO`: an encoder and its bands.

    Raises:
        ConfigError: no such weights.
        PolicyError: what came holds more than tensors.
        TemporaryError: they could not be fetched.
    """
    weights = _torchgeo_weights(name)
    tensors = _fetched(weights, name)
    # Some of TorchGeo's are whole networks, of which the encoder is what all have in common.
    if any(key.startswith(ENCODER) for key in tensors):
        tensors = {key.removeprefix(ENCODER): t for key, t in tensors.items() if key.startswith(ENCODER)}
    meta: Mapping[str, Any] = weights.meta
    bands = _common_names(weights)
    terms = str(meta.get("license") or UNKNOWN_LICENSE)
    data = str(meta.get("dataset") or "not stated")
    return Start(
        name=f"torchgeo:{name}",
        sha256=weights_sha256(tensors),
        tensors=tensors,
        bands=bands if len(set(bands)) == len(bands) else (),  # two dates share names
        n_bands=int(meta.get("in_chans") or len(bands)),
        normalization=_normalization(weights, bands),
        license=terms,
        attribution=f"TorchGeo {name} ({meta.get('publication') or meta.get('repo') or 'no publication named'})",
        training_data=({"name": data, "license": UNKNOWN_LICENSE, "attribution": str(meta.get("repo") or data)},),
    )


def start_of_library(name: str, arch: Architecture) -> Start:
    """Weights of timm or segmentation_models_pytorch for the encoder of a network, trained on red, green, blue.

    Args:
        name: `imagenet` (what the encoder's library has by that name), `smp:NAME`, or `timm:NAME` with timm's name
            of model and tag.
        arch: whose encoder it is.

    Raises:
        ConfigError: the encoder has no such weights.
        TemporaryError: they could not be fetched.
    """
    kind, _, wanted = name.rpartition(":")
    terms = UNKNOWN_LICENSE
    if (arch.encoder or "").startswith("tu-"):
        if kind == "smp":
            raise ConfigError(f"fit.start {name}: encoder {arch.encoder!r} is timm's; say timm:NAME or imagenet.")
        arch = arch if not kind else replace(arch, encoder=f"tu-{_same_model(wanted, arch)}")
        wanted, terms = "imagenet", _timm_license(str(arch.encoder).removeprefix("tu-"))
    elif kind == "timm":
        _same_model(wanted, arch)
    # With three bands: libraries adapt to other numbers without knowing which bands those are.
    with torch.random.fork_rng(devices=()):
        network = build_network(arch, len(RGB), 2, encoder_weights=wanted)
    tensors = {key.removeprefix(ENCODER): t for key, t in network.state_dict().items() if key.startswith(ENCODER)}
    source = f"{arch.encoder} ({name})"
    return Start(
        name=source,
        sha256=weights_sha256(tensors),
        tensors=tensors,
        bands=RGB,
        n_bands=len(RGB),
        license=terms,
        attribution=f"encoder weights {source}",
        training_data=(
            {"name": f"photographs of {source}", "license": UNKNOWN_LICENSE, "attribution": "see the library's page"},
        ),
    )


def _same_model(wanted: str, arch: Architecture) -> str:
    """Timm's name of model and tag, if it is of the network's encoder."""
    model = wanted.partition(".")[0]
    if f"tu-{model}" != (arch.encoder or "").partition(".")[0]:
        raise ConfigError(f"fit.start timm:{wanted} is no encoder {arch.encoder!r}; say network.encoder: tu-{model}.")
    return wanted


def _torchgeo_weights(name: str) -> Any:
    """The member of one of TorchGeo's enumerations of weights, which has url, transforms and meta."""
    import torchgeo.models as published

    kinds = [kind for name, kind in vars(published).items() if name.endswith("_Weights")]
    known = {str(weights): weights for kind in kinds for weights in kind}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise ConfigError(
            f"fit.start torchgeo:{name} is unknown; TorchGeo has {', '.join(near or sorted(known)[:3])}, …."
        )
    return known[name]


def _fetched(weights: Any, name: str) -> dict[str, Tensor]:
    """The tensors, from torch.hub's cache or the network."""
    try:
        found = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PolicyError(f"fit.start torchgeo:{name} holds more than tensors, which could execute code.") from error
    except (OSError, RuntimeError) as error:  # of urllib; a wrong digest or a torn file
        raise TemporaryError(
            f"cannot fetch fit.start torchgeo:{name} ({' '.join(str(error).split())[:200]}); see that the network is "
            f"there, or put the file of {weights.url} into torch.hub's cache, TORCH_HOME/hub/checkpoints."
        ) from error
    return {key: t.float() if t.is_floating_point() else t for key, t in found.items() if isinstance(t, Tensor)}


def _common_names(weights: Any) -> tuple[str, ...]:
    """Bands of the weights as models call them; in small letters where no sensor's preset has a word."""
    table = _COLORS
    for begin, sensor, variant in SENSORS:
        if weights.name.startswith(begin):
            preset = load_preset(shipped("sensors") / f"{sensor}.yaml")
            bands = preset.bands if variant is None else preset.variants[variant].bands
            table = {word_key(band): entry.name for band, entry in bands.items()}
            break
    found = [word_key(str(band).removeprefix("SR_")) for band in weights.meta.get("bands") or ()]
    return tuple(table.get(band, band) for band in found)


def _normalization(weights: Any, bands: tuple[str, ...]) -> dict[str, Band]:
    """Of weights trained on Sentinel-2's DN; the others saw images stretched to 8 bits in ways of their own."""
    chain = weights.transforms if isinstance(weights.transforms, nn.Sequential) else ()
    steps = [step for step in chain if hasattr(step, "mean") and hasattr(step, "std")]
    if len(steps) != 1 or not weights.name.startswith("SENTINEL2_"):
        return {}
    mean, std = (torch.as_tensor(getattr(steps[0], key)).double().expand(len(bands)) for key in ("mean", "std"))
    if _BYTE in std or std.max() < _BYTE:
        return {}
    numbers = zip(bands, mean.tolist(), std.tolist(), strict=True)
    return {name: Band(name=name, mean=m / _DN, std=s / _DN) for name, m, s in numbers}


def _timm_license(model: str) -> str:
    import timm

    try:
        found = timm.get_pretrained_cfg(model)
    except RuntimeError:  # no such tag; building says so
        return UNKNOWN_LICENSE
    return str((found and found.license) or UNKNOWN_LICENSE)
