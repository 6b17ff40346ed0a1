"""The layer and the attribute of a vector file that somebody named, or the only ones that it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyogrio

from geoseg.errors import UsageError


def one_layer(path: Path, layer: str | None, option: str) -> str:
    """The name of the layer to read.

    Args:
        path: of a file that GDAL reads.
        layer: as named by the user; None: there must be only one with geometry.
        option: what the user names it with.

    Raises:
        UsageError: it is not there, or it must be named.
    """
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    names = ", ".join(layers) or "none"
    if layer is not None and layer not in layers:
        raise UsageError(f"{option} {layer!r} is not in {path}; its layers with geometry: {names}.")
    if layer is None and len(layers) != 1:
        raise UsageError(f"{path} has {len(layers)} layers with geometry ({names}): name one with {option}.")
    return layer or layers[0]


def check_field(path: Path, field: str, fields: Sequence[str], option: str) -> None:
    """See that a layer has an attribute.

    Args:
        path: for the message.
        field: as named by the user.
        fields: that the layer has.
        option: what the user names it with.

    Raises:
        UsageError: it has not.
    """
    if field not in fields:
        raise UsageError(f"{option} {field!r} is not in {path}; it has: {', '.join(fields) or 'no attributes'}.")
