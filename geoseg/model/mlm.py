"""A model file as a STAC item of the Machine Learning Model extension (MLM) 1.5.

https://github.com/stac-extensions/mlm/tree/v1.5.0: what goes in, what comes out, how values are scaled, where the file
is. The item is told as it holds for anyone who loads the file, not only for geoseg.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from geoseg.classes import LandClass
from geoseg.model.file import ONNX_SUFFIX, ModelRef, tensor_shapes
from geoseg.model.onnx_file import read_header
from geoseg.model.spec import Band, ModelSpec
from geoseg.stac import STAC_VERSION, class_row, place_of_boxes

MLM = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"
EXTENSIONS = (
    MLM,
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    # MLM wants bands described in one of three ways; STAC 1.1 itself forbids its own in an item's properties.
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
)
TASKS = ("semantic-segmentation", "segmentation")
_DIMENSIONS = ("height", "width")


def model_item(ref: ModelRef, output: Path) -> dict[str, Any]:
    """The item, ready for `json.dump`.

    The geometry is where the training data lie, null where that is not known. A model has no time of its own: the
    range says that it may be used for any.

    Args:
        ref: of the model file.
        output: where the item will lie; the asset's address is relative to it.
    """
    spec, onnx = ref.spec, ref.path.suffix == ONNX_SUFFIX
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": sorted(EXTENSIONS),
        "id": _word(f"{spec.name}-{spec.version}"),
    }
    item |= place_of_boxes(spec.training_footprints)
    item["properties"] = _general(spec) | _network(ref, onnx=onnx) | _input_output(spec)
    item["links"] = []
    item["assets"] = {"model": _asset(ref, output, onnx=onnx)}
    return item


def _general(spec: ModelSpec) -> dict[str, Any]:
    return {
        "description": spec.purpose or f"{spec.name} {spec.version}",
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        # STAC 1.1: an SPDX identifier, or "other".
        "license": spec.license if re.fullmatch(r"[\w\-.+]+", spec.license) else "other",
        "gsd": spec.gsd_m[0],
        "geoseg:version": spec.version,
        "geoseg:license": spec.license,
        "geoseg:attribution": spec.attribution,
        "geoseg:gsd_m": list(spec.gsd_m),
        "geoseg:margin_px": spec.margin,
        "geoseg:stride_px": spec.stride,
        "geoseg:training_data": [
            {key: str(data[key]) for key in ("name", "license", "attribution", "url") if data.get(key)}
            for data in spec.training_data
        ],
        "geoseg:metrics": spec.metrics,
    }


def _band(band: Band) -> dict[str, Any]:
    told: dict[str, Any] = {"name": band.name, "data_type": "float32"}
    if band.optional:
        told["description"] = "optional"
    if scaling := _z_score(band):
        told["statistics"] = {"mean": scaling["mean"], "stddev": scaling["stddev"]}
    return told


def _network(ref: ModelRef, *, onnx: bool) -> dict[str, Any]:
    """What computes it, and how large that is."""
    arch = ref.spec.architecture
    inner = arch.options.get("network") or {} if onnx else {"name": arch.name, "encoder": arch.encoder}
    made = inner.get("name") or arch.name
    parameters = _parameters(ref, onnx=onnx)
    told: dict[str, Any] = {
        "mlm:name": _word(ref.spec.name),
        "mlm:architecture": f"{made}, encoder {inner['encoder']}" if inner.get("encoder") else made,
        "mlm:framework": "ONNX" if onnx else "PyTorch",
        "mlm:tasks": list(TASKS),
        "mlm:total_parameters": parameters,
        "mlm:memory_size": 4 * parameters,
        "mlm:batch_size_suggestion": 1,
        "mlm:accelerator": None if onnx else "cuda",
        "mlm:accelerator_constrained": False,
        "mlm:accelerator_summary": "a CPU is enough" if onnx else "a CPU is enough; CUDA and Apple GPUs are faster",
        "mlm:hyperparameters": {"temperature": ref.spec.temperature, "valid": ref.spec.valid},
    }
    version = metadata.version("torch")
    if not onnx and re.fullmatch(r"\d+\.\d+\.\d+(\+[0-9A-Za-z-]+)?", version):
        told["mlm:framework_version"] = version
    if ref.spec.training:
        start = ref.spec.training.get("started_from")
        told |= {"mlm:pretrained": bool(start), "mlm:pretrained_source": start and str(start.get("name"))}
    return told


def _parameters(ref: ModelRef, *, onnx: bool) -> int:
    if onnx:
        return read_header(ref.path).parameters
    shapes = tensor_shapes(ref.path)
    learned = {name: shape for name, shape in shapes.items() if "running_" not in name and "num_batches" not in name}
    return sum(_product(shape) for shape in learned.values())


def _product(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _input_output(spec: ModelSpec) -> dict[str, Any]:
    side = spec.chip if spec.fixed_chip else -1
    inside = spec.architecture.options.get("normalization") == "inside"
    answer = spec.architecture.options.get("answer", "logits")
    unit = "reflectance" if spec.unit == "reflectance" else "stored numbers"
    image = {
        "name": "image",
        "description": (
            f"{unit}, NaN where invalid; the graph normalizes them" if inside else f"{unit}, scaled; 0 where invalid"
        ),
        "bands": [{"name": band.name} for band in spec.bands],
        "input": {
            "shape": [-1, len(spec.bands), side, side],
            "dim_order": ["batch", "bands", *_DIMENSIONS],
            "data_type": "float32",
        },
        "value_scaling": None if inside else [_scaling(band) for band in spec.bands],
        "resize_type": None,
    }
    scores = {
        "name": "scores" if answer != "logits" else "logits",
        "tasks": list(TASKS),
        "result": {
            "shape": [-1, len(spec.classes), side, side],
            "dim_order": ["batch", "class", *_DIMENSIONS],
            "data_type": "float32",
        },
        "classification:classes": [_class(c) for c in spec.classes.classes],
        "post_processing_function": _after(spec, answer),
    }
    return {"mlm:input": [image], "mlm:output": [scores]}


def _class(land: LandClass) -> dict[str, Any]:
    """MLM takes its classes from version 1.1 of the extension, which has no titles."""
    row = class_row(land.code, land.name, land.hex_color)
    return {key: value for key, value in row.items() if key != "title"}


def _scaling(band: Band) -> dict[str, Any]:
    """How a value becomes input: as z-score, or the curve in words of Python."""
    return _z_score(band) or {
        "type": "processing",
        "format": "python",
        "expression": (
            f"1 / (1 + exp(-(5 * (log1p(0.005 * max(x * {band.scale!r} + {band.offset!r}, 0)) - {band.mean!r})"
            f" / {band.std!r} - 1)))"
        ),
    }


def _z_score(band: Band) -> dict[str, Any] | None:
    """(v·scale + offset − mean)/std as (v − mean′)/stddev′; None: another curve, or values turned round."""
    if band.curve != "linear" or band.scale <= 0:
        return None
    return {"type": "z-score", "mean": (band.mean - band.offset) / band.scale, "stddev": band.std / band.scale}


def _after(spec: ModelSpec, answer: str) -> dict[str, str]:
    scores = f"softmax(output / {spec.temperature!r}, axis=1)" if answer == "logits" else "output"
    return {"format": "python", "expression": f"classes[argmax({scores}, axis=1)]"}


def _asset(ref: ModelRef, output: Path, *, onnx: bool) -> dict[str, Any]:
    kind = "onnx" if onnx else "safetensors"
    try:
        href = Path(os.path.relpath(ref.path, output.resolve().parent)).as_posix()
    except ValueError:  # another drive of Windows
        href = ref.path.as_uri()
    return {
        "href": href if href.startswith((".", "file:")) else f"./{href}",
        "type": f"application/octet-stream; application={kind}",
        "title": f"{ref.spec.name} {ref.spec.version}",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "onnx" if onnx else "safetensors.torch.save_file",
        "raster:bands": [_band(band) for band in ref.spec.bands],
        "file:size": ref.path.stat().st_size,
        # multihash: 0x12 = SHA-256, 0x20 = 32 bytes follow
        "file:checksum": f"1220{ref.sha256}",
    }


def _word(text: str) -> str:
    """A name as MLM allows it: letters, digits, `_.-`, begun by a letter and ended by a letter or digit."""
    word = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    word = word if word[:1].isalpha() else f"model-{word}".rstrip("-")
    return word if len(word) >= 3 else f"{word}-model"
