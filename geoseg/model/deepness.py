"""What QGIS Deepness reads from an ONNX file, written for it and read as it does.

https://github.com/PUTvision/qgis-plugin-deepness: its `ModelBase` looks each key up in the file's custom metadata and
reads the value as JSON. It feeds stored numbers / 255, then (value − standardization_mean) / standardization_std.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.errors import ConfigError
from geoseg.model.spec import ModelSpec

_BYTE = 255
_NAMES = ("class_names", "names")


def metadata_of(spec: ModelSpec, scale: Sequence[float], offset: Sequence[float]) -> dict[str, str]:
    """Key → value as Deepness reads them, for a graph that takes what the model takes (`ModelSpec.unit`).

    A standardization that undoes its division by 255 and applies the scale gives the graph its unit:
    (DN/255 − m)/s = DN·scale + offset with s = 1/(255·scale), m = −offset·s.

    Args:
        spec: of the model.
        scale: per band; what the model takes = DN·scale + offset.
        offset: as `scale`.
    """
    std = [1 / (_BYTE * factor) for factor in scale]
    mean = [-shift * factor for shift, factor in zip(offset, std, strict=True)]
    values = {
        "model_type": "Segmentor",
        "class_names": {str(index): name for index, name in enumerate(spec.classes.names)},
        "resolution": 100 * spec.gsd_m[0],
        "tile_size": spec.chip,
        "tiles_overlap": math.ceil(100 * 2 * spec.margin / spec.chip),
        # Below its threshold a pixel would become class 0, and small areas be blurred away.
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "standardization_mean": mean,
        "standardization_std": std,
    }
    return {key: json.dumps(value) for key, value in values.items()}


@dataclass(frozen=True)
class DeepnessFacts:
    """What a file made for Deepness says; None: nothing."""

    classes: tuple[str, ...] | None = None
    gsd_m: float | None = None
    chip: int | None = None
    overlap: float | None = None
    """Share of a chip's side that it has in common with the next."""
    normalization: tuple[tuple[float, float], ...] | None = None
    """Mean and standard deviation per band, of stored 8-bit numbers."""
    threshold: float | None = None
    """Scores below it count as 0, so that the first class wins."""


def read_facts(metadata: Mapping[str, str], bands: int) -> DeepnessFacts:
    """Deepness' keys of a file; nothing where there are none.

    Args:
        metadata: of the ONNX file.
        bands: of the input.

    Raises:
        ConfigError: a value is not of its form, or the model is no segmentation network.
    """
    kind = str(_value(metadata, "model_type", "Segmentor")).capitalize()
    if kind != "Segmentor":
        raise ConfigError(f"this model is a {kind} for Deepness; geoseg runs segmentation networks (Segmentor).")
    mean, std = (_value(metadata, f"standardization_{name}", None) for name in ("mean", "std"))
    made_for = any(key in metadata for key in ("model_type", "resolution", "tile_size", "tiles_overlap", *_NAMES))
    try:
        if (mean is None or std is None) and made_for:
            mean, std = [0.0] * bands, [1.0] * bands
        normalization = None if mean is None or std is None else _bytes(mean, std)
        resolution, chip = _value(metadata, "resolution", None), _value(metadata, "tile_size", None)
        overlap, threshold = _value(metadata, "tiles_overlap", None), _value(metadata, "seg_thresh", None)
        return DeepnessFacts(
            classes=_class_names(metadata),
            gsd_m=None if resolution is None else float(resolution) / 100,
            chip=None if chip is None else int(chip),
            overlap=None if overlap is None else float(overlap) / 100,
            normalization=normalization,
            threshold=None if threshold is None else float(threshold),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"the model's metadata for Deepness are malformed: {error}.") from error


def _bytes(mean: Sequence[Any], std: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    return tuple((_BYTE * float(m), _BYTE * float(s)) for m, s in zip(mean, std, strict=True))


def _class_names(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names by index.

    Raises:
        ValueError: an index is missing, or there are several outputs.
    """
    found = next((_value(metadata, key, None) for key in _NAMES if key in metadata), None)
    if isinstance(found, list):
        (found,) = found
    if found is None:
        return None
    rows = sorted((int(index), str(name)) for index, name in found.items())
    if [index for index, _ in rows] != list(range(len(rows))):
        raise ValueError(f"class_names has the indices {[index for index, _ in rows]}, not 0, 1, 2, …")
    return tuple(name for _, name in rows)


def _value(metadata: Mapping[str, str], key: str, default: Any) -> Any:
    """JSON, or a Python literal, as files of Ultralytics have it (`{0: 'tree'}`).

    Raises:
        ConfigError: neither.
    """
    if key not in metadata:
        return default
    try:
        return json.loads(metadata[key])
    except ValueError:
        pass
    try:
        return ast.literal_eval(metadata[key])
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        raise ConfigError(f"the model's metadata {key} = {metadata[key][:80]!r} cannot be read.") from None
