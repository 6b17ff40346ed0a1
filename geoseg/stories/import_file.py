"""Somebody's network in a file, and a YAML that says what the file does not → a model file of geoseg."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, DeviceError, GeosegWarning, InputMissingError, UsageError
from geoseg.model.deepness import DeepnessFacts, read_facts
from geoseg.model.file import ONNX_SUFFIX, check_output, publish_bytes, save_model
from geoseg.model.onnx_file import ARCHITECTURE, SPEC_KEY, check_ports, ports, read_header, with_spec
from geoseg.model.spec import Architecture, ModelSpec
from geoseg.model.spec_file import Known, read_spec_yaml, spec_of
from geoseg.stories.import_model import Imported

CHECKPOINTS = (".ckpt", ".pt", ".pth")
SUFFIXES = (ONNX_SUFFIX, *CHECKPOINTS)
OUTPUT = "output"
"""Key of an ONNX model's YAML: what the network answers, `logits` or `scores`; left out: seen from its numbers."""


def import_file(
    source: Path, spec_file: Path, output: Path, *, trusted: bool = False, overwrite: bool = False
) -> Imported:
    """Convert a network and write a model file.

    Args:
        source: an ONNX file, or a Lightning checkpoint of TorchGeo's `SemanticSegmentationTask`.
        spec_file: YAML with bands, classes, pixel sizes, see `geoseg.model.spec_file`.
        output: `.onnx` for an ONNX file, else `.safetensors`.
        trusted: the user answers for a checkpoint that holds more than tensors and plain values.
        overwrite: replace an existing file.

    Raises:
        UsageError: the source is of another kind, or the output's suffix does not fit it.
        InputMissingError: nothing at the source, or no YAML.
        PolicyError: the checkpoint could execute code.
        ConfigError: damaged, of another task, or the YAML does not fit it.
        DeviceError: the extra `onnx` is not installed.
        OutputExistsError: the output exists or cannot be created.
        OutputError: writing failed.
    """
    if source.suffix not in SUFFIXES:
        raise UsageError(f"{source} is none of {', '.join(SUFFIXES)}; geoseg models import dynamicworld takes folders.")
    onnx = source.suffix == ONNX_SUFFIX
    wanted = ONNX_SUFFIX if onnx else ".safetensors"
    if output.suffix != wanted:
        raise UsageError(f"-o {output}: what comes of {source.name} ends in {wanted}.")
    if not source.is_file():
        raise InputMissingError(f"model {source} does not exist.")
    check_output(output, overwrite=overwrite)
    given = read_spec_yaml(spec_file, (OUTPUT,) if onnx else ())
    contract = _import_onnx if onnx else _import_checkpoint
    spec = contract(source, spec_file, given, output, trusted=trusted)
    return Imported(output, spec, published=False)


def _import_onnx(
    source: Path,
    spec_file: Path,
    given: dict[str, Any],
    output: Path,
    *,
    trusted: bool,  # noqa: ARG001 (no pickle)
) -> ModelSpec:
    answer = given.pop(OUTPUT, None)
    if answer not in (None, "logits", "scores"):
        raise ConfigError(f"spec {spec_file}: output {answer!r} is neither logits nor scores.")
    header = read_header(source)
    if SPEC_KEY in header.metadata:
        raise ConfigError(f"model {source} has geoseg's spec already: use it as it is, or import its source.")
    image, scores = ports(header, source)
    if not isinstance(image.shape[1], int):
        raise ConfigError(f"model {source} does not say how many bands it takes; export it with a fixed number.")
    bands, channels = image.shape[1], scores.shape[1]
    facts = read_facts(header.metadata, bands)
    if facts.threshold not in {None, 0.0, 0.5}:
        warnings.warn(
            f"{source.name} wants scores below {facts.threshold:g} to count as the first class (seg_thresh); geoseg "
            f"takes the best class wherever it is, write --confidence to see the others.",
            GeosegWarning,
            stacklevel=2,
        )
    rows = given.get("classes") or facts.classes
    listed = len(rows) if isinstance(rows, list | tuple) else 0
    known = Known(
        name=source.stem,
        architecture=Architecture(name=ARCHITECTURE),
        bands=bands,
        classes=2 if channels == 1 else channels if isinstance(channels, int) else listed,
        class_names=facts.classes or (),
        normalization=facts.normalization or (),
        overlap=facts.overlap,
        more=_more(facts, [side for side in image.shape[2:] if isinstance(side, int)], given),
    )
    spec = spec_of(spec_file, given, known)
    check_ports(header, source, len(spec.bands), len(spec.classes), spec.chip)
    spec = _probed(source, spec, answer)
    publish_bytes(output, with_spec(source.read_bytes(), spec))
    return spec


def _more(facts: DeepnessFacts, fixed: list[int], given: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the spec that an ONNX file answers for; a size that is fixed is no matter of taste."""
    more: dict[str, Any] = {"stride": 1, "fixed_chip": bool(fixed) or "stride" not in given}
    chip = fixed[0] if fixed else facts.chip
    if chip is not None:
        more["chip"] = chip
    if facts.gsd_m is not None:
        more["gsd_m"] = facts.gsd_m
    if facts.normalization is not None:
        more["unit"] = "dn"
    return more


def _probed(source: Path, spec: ModelSpec, answer: str | None) -> ModelSpec:
    """The spec with what a first answer of the network shows."""
    try:
        from geoseg.model.probe_onnx import probed
    except ImportError as error:
        raise DeviceError(f"to import {source} geoseg runs it once: pip install 'geoseg[onnx]'.") from error
    return probed(source, spec, answer)


def _import_checkpoint(
    source: Path, spec_file: Path, given: dict[str, Any], output: Path, *, trusted: bool
) -> ModelSpec:
    from geoseg.training.task_file import read_task

    network = read_task(source, trusted=trusted)
    known = Known(name=source.stem, architecture=network.architecture, bands=network.bands, classes=network.classes)
    spec = spec_of(spec_file, given, known)
    network.check(spec, source)
    save_model(output, network.tensors, spec, half=False)
    return spec
