"""Networks by name, built empty: weights come from a model file, and from a hub only when a recipe says so."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from geoseg.errors import ConfigError, TemporaryError
from geoseg.model.spec import Architecture, ModelSpec

# Architectures of segmentation_models_pytorch, which TorchGeo's SemanticSegmentationTask builds as well.
SMP = ("unet", "unetplusplus", "deeplabv3plus", "fpn", "segformer", "upernet", "dpt")
# As TorchGeo and the papers write them.
ALIASES = {"unet++": "unetplusplus", "deeplabv3+": "deeplabv3plus"}
OWN = ("dynamicworld", "fcn", "linear")
# timm takes `hf-hub:…` and `local-dir:…` for a name, and then asks the hub or reads a file.
_ENCODER = re.compile(r"[\w.-]+")
# All that smp may hand on to timm, whose `checkpoint_path` would open a pickle.
_ENCODER_OPTIONS = {"img_size", "dynamic_img_size"}
# They would fetch weights, or turn logits into something else.
_FORBIDDEN = {"encoder_weights", "activation", "aux_params", "in_channels", "classes", "encoder_name"}


def build(spec: ModelSpec) -> nn.Module:
    """The network of a spec with untrained weights.

    Input (batch, band, row, col) float, output logits (batch, class, row, col).

    Raises:
        ConfigError: unknown architecture, encoder or option.
    """
    return build_network(spec.architecture, len(spec.bands), len(spec.classes))


def build_network(arch: Architecture, bands: int, classes: int, *, encoder_weights: str | None = None) -> nn.Module:
    """The network of an architecture for so many bands and classes.

    Args:
        arch: names the network.
        bands: of the input.
        classes: of the answer.
        encoder_weights: published weights of the encoder, which the library fetches; None: none, and nobody is asked.
            Never to be taken from a model file.

    Raises:
        ConfigError: unknown architecture, encoder, weights or option.
        TemporaryError: published weights could not be fetched.
    """
    name = ALIASES.get(arch.name, arch.name)
    if name not in SMP + OWN:
        known = ", ".join(sorted({*SMP, *OWN, *ALIASES}))
        raise ConfigError(f"architecture {arch.name!r} is unknown; geoseg builds {known}.")
    given: dict[str, Any] = {"in_channels": bands, "classes": classes}
    if name in SMP:
        if arch.encoder is None or not _ENCODER.fullmatch(arch.encoder):
            raise ConfigError(f"{arch.name!r} with encoder {arch.encoder!r}: it must be the plain name of an encoder.")
        # Of timm's encoders the name says which weights; smp warns of any other word than True.
        weights = True if encoder_weights and arch.encoder.startswith("tu-") else encoder_weights
        given |= {"encoder_name": arch.encoder, "encoder_weights": weights}
    elif encoder_weights is not None:
        raise ConfigError(f"{arch.name!r} has no encoder that could have weights {encoder_weights!r}.")
    maker = _maker("detailed unet" if name == "unet" and "detail" in arch.options else name)
    parameters = set(inspect.signature(maker).parameters) | ({"detail"} if name == "unet" else set())
    options = sorted((parameters - _FORBIDDEN - {"kwargs"}) | (_ENCODER_OPTIONS if "kwargs" in parameters else set()))
    unknown = sorted(set(arch.options) - set(options))
    if unknown:
        raise ConfigError(f"{arch.name!r} has no option {', '.join(unknown)}; it knows {', '.join(options)}.")
    try:
        return maker(**given, **arch.options)
    except OSError as error:  # of urllib and the hub's client; without weights nothing is fetched
        raise TemporaryError(
            f"cannot fetch weights {encoder_weights!r} of {arch.encoder!r} ({' '.join(str(error).split())[:300]}); "
            f"see that the network is there, or train without fit.start."
        ) from error
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"cannot build {arch.name!r} with encoder {arch.encoder!r} and options {arch.options}: {reason}"
        ) from error


def _maker(name: str) -> Callable[..., nn.Module]:
    """The constructor of an architecture."""
    if name == "linear":
        return _linear
    if name == "dynamicworld":
        from geoseg.model.dynamicworld import DynamicWorld

        return DynamicWorld
    if name == "fcn":
        from torchgeo.models import FCN

        fcn: type[nn.Module] = FCN
        return fcn
    if name == "detailed unet":
        from geoseg.model.detail_unet import DetailUnet

        return DetailUnet
    import segmentation_models_pytorch as smp

    maker: type[nn.Module] = smp.MODEL_ARCHITECTURES_MAPPING[name]
    return maker


def _linear(in_channels: int, classes: int, *, kernel: int = 1) -> nn.Module:
    """One convolution: the linear classifier of a pixel (kernel 1) or of a small neighborhood.

    Zero padding; its receptive radius is (kernel − 1) / 2, known exactly.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel {kernel} is not an odd number of pixels")
    return nn.Conv2d(in_channels, classes, kernel, padding=kernel // 2)
