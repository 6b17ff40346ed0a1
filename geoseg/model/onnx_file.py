"""An ONNX file as a model file: what its header says, read without torch and without onnx; what others must add.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto). geoseg's spec is one more entry of
`metadata_props`; a file that lacks it is imported once (`geoseg models import FILE.onnx --spec …`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.model.protobuf import fields, messages, spans, text, varint
from geoseg.model.spec import ModelSpec

SPEC_KEY = "geoseg"
ARCHITECTURE = "onnx"
"""Name of the architecture of every model whose network is an ONNX graph."""
ANSWERS = ("softmax", "scores", "logits")
"""What a graph may answer, see `geoseg.model.backend_onnx.scores_of`."""
_GRAPH, _OPSET, _METADATA = 7, 8, 14
_FLOAT = 1


@dataclass(frozen=True)
class Port:
    """An input or output of the graph."""

    name: str
    element: int
    """TensorProto.DataType; 1: float32."""
    shape: tuple[int | str, ...]
    """A number where the size is fixed, else its name, perhaps empty."""


@dataclass(frozen=True)
class OnnxHeader:
    """Everything about an ONNX model but its nodes and weights."""

    metadata: Mapping[str, str]
    inputs: tuple[Port, ...]
    """Without those that are weights."""
    outputs: tuple[Port, ...]
    opset: int
    """Of the standard operators."""
    parameters: int
    """Numbers in its weights."""
    external: bool
    """True when weights lie in other files."""


def read_header(path: Path) -> OnnxHeader:
    """What an ONNX file says about itself.

    Raises:
        ConfigError: not an ONNX file, or a damaged one.
    """
    try:
        return _header(memoryview(path.read_bytes()))
    except (IndexError, OverflowError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"model {path} is not an ONNX file, or it is damaged ({error}).") from error


def read_onnx_spec(path: Path) -> ModelSpec:
    """The spec in an ONNX file, compared with the graph's own input and output.

    Raises:
        ConfigError: no ONNX file, none with geoseg's spec, or the two contradict each other.
    """
    header = read_header(path)
    if SPEC_KEY not in header.metadata:
        bands = header.inputs[0].shape[1] if header.inputs and len(header.inputs[0].shape) == 4 else "its"
        raise ConfigError(
            f"model {path} does not say what its {bands} bands are: geoseg models import {path} --spec SPEC.yaml "
            f"-o NEW.onnx, with bands and what else is missing in the YAML."
        )
    spec = ModelSpec.from_json(header.metadata[SPEC_KEY])
    options = spec.architecture.options
    seen, answer = options.get("activation_bytes"), options.get("answer")
    if spec.architecture.name != ARCHITECTURE or answer not in ANSWERS or not (isinstance(seen, int) and seen >= 0):
        raise ConfigError(
            f"model {path}: its spec is not of an ONNX graph (architecture {spec.architecture.name!r}, answer "
            f"{answer!r}, activation_bytes {seen!r}); export or import it with geoseg models."
        )
    check_ports(header, path, len(spec.bands), len(spec.classes), spec.chip)
    return spec


def check_ports(header: OnnxHeader, path: Path, bands: int, classes: int, chip: int) -> None:
    """Compare what the graph takes and gives with what a spec says.

    Args:
        header: of the file.
        path: for messages.
        bands: of the input.
        classes: of the answer; a graph with one channel answers for the second of two.
        chip: side of a chip in pixels.

    Raises:
        ConfigError: they do not fit, or the graph is no segmentation network.
    """
    image, answer = ports(header, path)
    if _differs(image.shape[1], bands):
        raise ConfigError(f"model {path} takes {image.shape[1]} bands, its spec names {bands}.")
    if _differs(image.shape[0], 1):
        raise ConfigError(
            f"model {path} takes {image.shape[0]} images at a time; export it for 1, or for any number (dynamic batch)."
        )
    for side in image.shape[2:]:
        if _differs(side, chip):
            raise ConfigError(f"model {path} takes images of {side} pixels, its spec says chips of {chip}.")
    if _differs(answer.shape[1], classes) and (answer.shape[1], classes) != (1, 2):
        raise ConfigError(f"model {path} answers {answer.shape[1]} classes, its spec names {classes}.")


def ports(header: OnnxHeader, path: Path) -> tuple[Port, Port]:
    """The one image that a segmentation network takes, and its one answer.

    Raises:
        ConfigError: there are more or others, or weights lie in other files.
    """
    if len(header.inputs) != 1 or len(header.outputs) != 1:
        raise ConfigError(
            f"model {path} has {len(header.inputs)} inputs and {len(header.outputs)} outputs; geoseg runs networks "
            f"with one image in and one map of classes out."
        )
    image, answer = header.inputs[0], header.outputs[0]
    if header.external:
        raise ConfigError(f"model {path} keeps its weights in other files; save it as a single one.")
    for what, port in (("input", image), ("output", answer)):
        if len(port.shape) != 4 or port.element != _FLOAT:
            shape = " × ".join(str(side or "?") for side in port.shape)
            raise ConfigError(
                f"{what} {port.name!r} of model {path} has the shape {shape}, type {port.element}; geoseg needs "
                f"batch × channel × row × column of float32 (type 1)."
            )
    return image, answer


def with_spec(model: bytes, spec: ModelSpec) -> bytes:
    """The same ONNX model with this spec; an older one goes."""
    start, kept = 0, bytearray()
    view = memoryview(model)
    for number, value, end in spans(view):
        if number != _METADATA or isinstance(value, int) or _entry(value)[0] != SPEC_KEY:
            kept += view[start:end]
        start = end
    entry = text(1, SPEC_KEY.encode()) + text(2, spec.to_json().encode())
    return bytes(kept + text(_METADATA, entry))


def _differs(side: int | str, wanted: int) -> bool:
    """A size with a name instead of a number may be any."""
    return isinstance(side, int) and side != wanted


def _header(model: memoryview) -> OnnxHeader:
    """ModelProto: graph 7, opset_import 8 (domain 1, version 2), metadata_props 14.

    Raises:
        IndexError, UnicodeDecodeError, ValueError: damaged, or no model.
    """
    graph, opset, metadata = None, 0, {}
    for number, value in fields(model):
        if number == _GRAPH and not isinstance(value, int):
            graph = value
        elif number == _OPSET and not isinstance(value, int):
            known = dict(fields(value))
            if not known.get(1):  # other operators have a domain
                opset = int(known.get(2, 0))
        elif number == _METADATA and not isinstance(value, int):
            key, entry = _entry(value)
            metadata[key] = entry
    if graph is None or not opset:
        raise ValueError("it has no graph")
    weights = [_weights(tensor) for tensor in messages(graph, 5)]
    names = {name for name, _, _ in weights}
    # Until IR version 3 weights stood among the inputs, too.
    inputs = tuple(port for port in map(_port, messages(graph, 11)) if port.name not in names)
    return OnnxHeader(
        metadata=metadata,
        inputs=inputs,
        outputs=tuple(map(_port, messages(graph, 12))),
        opset=opset,
        parameters=sum(count for _, count, _ in weights),
        external=any(elsewhere for _, _, elsewhere in weights),
    )


def _entry(message: memoryview) -> tuple[str, str]:
    """StringStringEntryProto: key 1, value 2."""
    known = dict(fields(message))
    return _text(known.get(1)), _text(known.get(2))


def _port(message: memoryview) -> Port:
    """ValueInfoProto: name 1, type 2 (tensor_type 1 (elem_type 1, shape 2 (dim 1 (dim_value 1, dim_param 2))))."""
    known = dict(fields(message))
    kind = next(messages(_message(known.get(2)), 1), memoryview(b""))
    tensor = dict(fields(kind))
    sides = [dict(fields(side)) for side in messages(_message(tensor.get(2)), 1)]
    shape = tuple(int(side[1]) if side.get(1) else _text(side.get(2)) for side in sides)
    return Port(_text(known.get(1)), int(tensor.get(1, 0)), shape)


def _weights(message: memoryview) -> tuple[str, int, bool]:
    """Name, count of numbers, and whether they lie elsewhere. TensorProto: dims 1, name 8, data_location 14."""
    name, elsewhere, dims = "", False, []
    for number, value in fields(message):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 8:
            name = _text(value)
        elif number == 14:
            elsewhere = value == 1
    return name, math.prod(dims), elsewhere


def _packed(message: memoryview) -> list[int]:
    at, out = 0, []
    while at < len(message):
        number, at = varint(message, at)
        out.append(number)
    return out


def _message(value: int | memoryview | None) -> memoryview:
    return value if isinstance(value, memoryview) else memoryview(b"")


def _text(value: int | memoryview | None) -> str:
    return bytes(_message(value)).decode()
