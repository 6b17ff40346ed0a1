"""What the Machine Learning Model extension 1.5.0 asks of an item, as a JSON Schema of our own.

Written down from the published rules (https://stac-extensions.github.io/mlm/v1.5.0/schema.json), for items whose
models take bands and no variables.
"""

from __future__ import annotations

from typing import Any

URI = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"
TASKS = {
    "enum": [
        *("regression", "classification", "scene-classification", "detection", "object-detection", "segmentation"),
        *("semantic-segmentation", "instance-segmentation", "panoptic-segmentation", "similarity-search", "generative"),
        *("image-captioning", "super-resolution", "downscaling"),
    ]
}
COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
# Data types of the raster extension 1.1, numbers only.
NUMBERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["float16", "float32", "float64"]
TASK_LIST = {"type": "array", "uniqueItems": True, "items": TASKS}
STRUCTURE = {
    "type": "object",
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": -1}},
        "dim_order": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1, "pattern": "^[a-z-_]+$"},
        },
        "data_type": {"enum": NUMBERS},
    },
}
EXPRESSION = {"type": "object", "required": ["format", "expression"], "properties": {"format": {"type": "string"}}}
FUNCTION = {"oneOf": [EXPRESSION, {"type": "null"}, {"type": "array", "items": EXPRESSION, "minItems": 1}]}


def scaling(kind: str, *numbers: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", *numbers],
        "properties": {"type": {"const": kind}} | {key: {"type": "number"} for key in numbers},
    }


SCALING = {
    "oneOf": [
        scaling("min-max", "minimum", "maximum"),
        scaling("z-score", "mean", "stddev"),
        scaling("clip", "minimum", "maximum"),
        scaling("clip-min", "minimum"),
        scaling("clip-max", "maximum"),
        scaling("offset", "value"),
        scaling("scale", "value"),
        scaling("processing") | {"allOf": [EXPRESSION]},
    ]
}
BAND = {
    "oneOf": [
        TEXT,
        {
            "type": "object",
            "required": ["name"],
            "properties": {"name": TEXT, "format": TEXT, "expression": True},
            "dependencies": {"format": ["expression"], "expression": ["format"]},
            "additionalProperties": False,
        },
    ]
}
RESIZING = [
    *("crop", "pad", "wrap-fill-outliers", "wrap-inverse-map"),
    *(f"interpolation-{way}" for way in ("nearest", "linear", "cubic", "area", "lanczos4", "max")),
    None,
]
INPUT = {
    "type": "object",
    "required": ["name", "bands", "input"],
    "properties": {
        "name": TEXT,
        "description": TEXT,
        "bands": {"type": "array", "minItems": 1, "items": BAND},
        # Named bands must be a dimension.
        "input": {"allOf": [STRUCTURE, {"properties": {"dim_order": {"contains": {"const": "bands"}}}}]},
        "value_scaling": {"oneOf": [{"type": "null"}, {"type": "array", "minItems": 1, "items": SCALING}]},
        "resize_type": {"enum": RESIZING},
        "pre_processing_function": FUNCTION,
    },
}
CLASS = {  # classification 1.1
    "type": "object",
    "required": ["value", "description"],
    "properties": {
        "value": {"type": "integer"},
        "description": {"type": "string"},
        "name": {"type": "string"},
        "color_hint": {"type": "string", "pattern": "^([0-9A-Fa-f]{6})$"},
    },
}
OUTPUT = {
    "type": "object",
    "required": ["name", "tasks", "result"],
    "properties": {
        "name": TEXT,
        "description": TEXT,
        "tasks": TASK_LIST,
        "result": {"allOf": [STRUCTURE, {"properties": {"dim_order": {"not": {"contains": {"const": "bands"}}}}}]},
        "classification:classes": {"type": "array", "uniqueItems": True, "minItems": 1, "items": CLASS},
        "post_processing_function": FUNCTION,
    },
}
SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9a-zA-Z.-]+)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$"
FIELDS: dict[str, Any] = {
    "mlm:name": {"type": "string", "pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
    "mlm:architecture": {"type": "string"},
    "mlm:framework": {"type": "string", "minLength": 1, "pattern": r"^(?=[^\s._\-]).*[^\s._\-]$"},
    "mlm:framework_version": {"type": "string", "pattern": SEMVER},
    "mlm:tasks": TASK_LIST,
    "mlm:memory_size": COUNT,
    "mlm:total_parameters": COUNT,
    "mlm:pretrained": {"type": "boolean"},
    "mlm:pretrained_source": {"type": ["string", "null"]},
    "mlm:batch_size_suggestion": COUNT,
    "mlm:accelerator": {
        "enum": ["amd64", "cuda", "xla", "amd-rocm", "intel-ipex-cpu", "intel-ipex-gpu", "macos-arm", None]
    },
    "mlm:accelerator_constrained": {"type": "boolean"},
    "mlm:accelerator_summary": {"type": "string"},
    "mlm:accelerator_count": {"type": "integer", "minimum": 1},
    "mlm:input": {"type": "array", "items": INPUT},
    "mlm:output": {"type": "array", "items": OUTPUT},
    "mlm:hyperparameters": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {"^[0-9a-zA-Z_.-]+$": True},
        "additionalProperties": False,
    },
}
ASSET_FIELDS = {name: rule for name, rule in FIELDS.items() if name.split(":")[1] not in {"name", "input", "output"}}
MODEL_ROLE = {"required": ["roles"], "properties": {"roles": {"contains": {"const": "mlm:model"}}}}
# One of the three ways to describe bands: those of the raster extension, with names, in every asset that is a model.
RASTER = r"https://stac-extensions\.github\.io/raster/v1(\.[0-9]+){2}/schema\.json"
NAMED = {"type": "object", "required": ["name"], "properties": {"name": TEXT}}
HAS_BANDS = {"required": ["raster:bands"], "properties": {"raster:bands": {"minItems": 1, "items": NAMED}}}
HAS_TYPE = {"required": ["mlm:artifact_type"], "properties": {"mlm:artifact_type": TEXT}}
RULES: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["stac_version", "stac_extensions", "properties", "assets"],
    "properties": {
        "type": {"const": "Feature"},
        "stac_extensions": {
            "type": "array",
            "allOf": [{"contains": {"const": URI}}, {"contains": {"pattern": RASTER}}],
        },
        "properties": {
            "type": "object",
            "required": ["mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"],
            "properties": FIELDS,
            "patternProperties": {"^(?!mlm:)": True},
            "additionalProperties": False,
        },
        "assets": {
            "type": "object",
            "not": {"additionalProperties": {"not": MODEL_ROLE}},
            "additionalProperties": {
                "properties": ASSET_FIELDS | {"mlm:artifact_type": TEXT, "mlm:compile_method": TEXT},
                "patternProperties": {"^(?!mlm:)": True},
                "additionalProperties": False,
                "if": MODEL_ROLE,
                "then": {"allOf": [HAS_TYPE, HAS_BANDS]},
                "else": {"not": HAS_TYPE},
            },
        },
    },
}
