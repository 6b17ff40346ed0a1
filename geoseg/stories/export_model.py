"""A model for other tools: an ONNX file, a STAC item of the MLM extension, a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.errors import ConfigError, UsageError
from geoseg.model.card import model_card
from geoseg.model.file import ONNX_SUFFIX, ModelRef, check_output, find_model, load_tensors, publish_bytes
from geoseg.model.mlm import model_item

Form = Literal["onnx", "mlm", "card"]
DN_SCALE = 1e-4
"""Of the stored numbers that Deepness feeds to models of reflectance, unless another is given: Sentinel-2, HLS."""


@dataclass(frozen=True)
class ExportedModel:
    """A file that is now there."""

    path: Path
    form: Form
    name: str
    """Of the model, with its version."""
    difference: float | None = None
    """Of an ONNX file: the largest between its scores and the model's, seen before it was written."""
    opset: int | None = None

    def lines(self) -> list[str]:
        """What to tell."""
        told = [f"{self.name} written: {self.path}"]
        if self.difference is not None:
            told.append(f"opset {self.opset}; its scores differ from the model's by at most {self.difference:.1e}")
        return told


def export_model(
    model: str,
    to: Form,
    output: Path,
    *,
    scale: Sequence[float] = (),
    offset: Sequence[float] = (),
    overwrite: bool = False,
) -> ExportedModel:
    """Write a model, or what is to be known of it, in a form that others read.

    Args:
        model: name or file.
        to: onnx, with metadata for QGIS Deepness; mlm: STAC MLM, JSON; card: Markdown.
        output: the file.
        scale: onnx: how Deepness gets from stored numbers to reflectance, one or one a band; empty: 0.0001, of models
            that take stored numbers 1.
        offset: as `scale`; empty: 0.
        overwrite: replace an existing file.

    Raises:
        InputMissingError, ConfigError, PolicyError: see `geoseg.model.file.find_model`.
        UsageError: the output's suffix is not `.onnx`, or scale and offset are not one, or one a band.
        DeviceError: the extra `onnx` is not installed.
        ModelOutputError: the ONNX file cannot be made, or answers otherwise than the model.
        OutputExistsError, OutputError: see `geoseg.model.file.publish_bytes`.
    """
    ref = find_model(model)
    check_output(output, overwrite=overwrite, what="output")
    if output.resolve() == ref.path:
        raise UsageError(f"-o {output} is the model itself; give another file.")
    name = f"{ref.spec.name} {ref.spec.version}"
    if to == "onnx":
        return _onnx(ref, output, name, scale, offset)
    if scale or offset:
        raise UsageError("--scale and --offset are for --to onnx.")
    if to == "mlm":
        text = json.dumps(model_item(ref, output), indent=2, ensure_ascii=False, allow_nan=False)
    else:
        text = model_card(ref.spec, _called(model, ref))
    publish_bytes(output, f"{text}\n".encode(), what="output")
    return ExportedModel(output, to, name)


def _onnx(ref: ModelRef, output: Path, name: str, scale: Sequence[float], offset: Sequence[float]) -> ExportedModel:
    from geoseg.model.build import build
    from geoseg.model.export_onnx import export_onnx
    from geoseg.model.footprint import UNSEEN, activation_bytes

    spec = ref.spec
    if output.suffix != ONNX_SUFFIX:
        raise UsageError(f"-o {output}: an ONNX file ends in {ONNX_SUFFIX}.")
    if ref.path.suffix == ONNX_SUFFIX:
        raise ConfigError(f"model {ref.path} is an ONNX file already; copy it.")
    factors = _per_band("scale", scale, len(spec.bands), DN_SCALE if spec.unit == "reflectance" else 1.0)
    shifts = _per_band("offset", offset, len(spec.bands), 0.0)
    network = build(spec)
    network.load_state_dict(load_tensors(ref.path))
    room = int(activation_bytes(spec, spec.band_names, spec.chip, "fp32") / UNSEEN)
    done = export_onnx(network, spec, factors, shifts, room)
    publish_bytes(output, done.data)
    return ExportedModel(output, "onnx", name, done.difference, done.opset)


def _per_band(flag: str, values: Sequence[float], bands: int, usual: float) -> tuple[float, ...]:
    """One number for each band.

    Raises:
        UsageError: neither one, nor one a band; or a scale of 0.
    """
    given = tuple(values) or (usual,)
    if len(given) not in {1, bands} or (flag == "scale" and 0 in given):
        told = ",".join(f"{value:g}" for value in given)
        raise UsageError(f"--{flag} {told}: give one number, not 0 for a scale, or one for each of {bands} bands.")
    return given * bands if len(given) == 1 else given


def _called(model: str, ref: ModelRef) -> str:
    """What follows -m: the name, or the file without its folder."""
    return ref.path.name if Path(model).is_file() else model
