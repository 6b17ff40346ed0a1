"""A geoseg model as one ONNX file: normalization in front, softmax behind, checked against torch before anyone gets it.

The graph takes what the model takes (`ModelSpec.unit`), NaN where nothing valid is, and gives scores that sum to 1.
Its chips have one size: QGIS Deepness reads it off the input and wants square outputs. Opset 17 and IR version 8 are
what the oldest ONNX Runtime of Deepness (1.12.1) reads; networks that only torch's newer exporter can take apart get
opset 18 (ONNX Runtime 1.14).
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import DeviceError, ModelOutputError
from geoseg.model.deepness import metadata_of
from geoseg.model.graph import Graph, Normalize
from geoseg.model.onnx_file import ARCHITECTURE, with_spec
from geoseg.model.spec import Architecture, Band, ModelSpec

OPSET, NEWER_OPSET, IR_VERSION = 17, 18, 8
TOLERANCE = 1e-4
"""Of a score; rounding was seen to make 6e-6 of it."""
_INPUT, _OUTPUT = "image", "scores"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """An ONNX model and what was found out about it."""

    data: bytes
    spec: ModelSpec
    """As the file carries it: of an ONNX graph with fixed chips."""
    opset: int
    difference: float
    """The largest between its scores and those of torch, on the chips of `sample_chips`."""


class _Inside(Normalize):
    """The same without writes into a part of a tensor, which exporters do not all know."""

    bent: Tensor

    def __init__(self, bands: Sequence[Band]) -> None:
        super().__init__(bands)
        self.register_buffer("bent", torch.tensor([b.curve == "log_sigmoid" for b in bands]).reshape(1, -1, 1, 1))

    def forward(self, values: Tensor) -> Tensor:
        """(batch, band, row, col) float32 → same shape."""
        x = values * self.scale + self.offset if self.scaled else values
        straight = (x - self.mean) / self.std
        if not self.curved:
            return straight
        logit = (torch.log(x.clamp(min=0).double() * 0.005 + 1) - self.mean) / self.std * 5 - 1
        return torch.where(self.bent, (1 / (1 + torch.exp(-logit))).float(), straight)


class _Whole(nn.Module):
    """What is exported: see the module."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.normalize, self.network, self.temperature = _Inside(spec.bands), network, spec.temperature

    def forward(self, image: Tensor) -> Tensor:
        """(batch, band, row, col) float32 → scores (batch, class, row, col)."""
        absent, nothing = torch.isnan(image), torch.zeros_like(image)
        values = torch.where(absent, nothing, self.normalize(torch.where(absent, nothing, image)))
        return torch.softmax(self.network(values) / self.temperature, dim=1)


def export_onnx(
    network: nn.Module, spec: ModelSpec, scale: Sequence[float], offset: Sequence[float], activation_bytes: int
) -> Exported:
    """Export, then compare with what the predictor computes.

    Args:
        network: built and filled.
        spec: of it.
        scale: per band, for Deepness: what the model takes = DN·scale + offset.
        offset: as `scale`.
        activation_bytes: of a forward pass, see `geoseg.model.footprint`.

    Raises:
        DeviceError: the libraries of the extra `onnx` are not installed.
        ModelOutputError: torch cannot export this network, or the file answers something else.
    """
    onnx = _library()
    whole = _Whole(network.eval(), spec).eval()
    model = _converted(onnx, whole, spec)
    opset = max(entry.version for entry in model.opset_import if not entry.domain)
    own = _spec_of(spec, activation_bytes)
    onnx.helper.set_model_props(model, metadata_of(spec, scale, offset))
    data = with_spec(model.SerializeToString(), own)
    difference = parity(network, spec, data)
    if not difference <= TOLERANCE:
        raise ModelOutputError(
            f"the ONNX file of {spec.name} answers otherwise than the model: scores differ by {difference:.2g}, more "
            f"than {TOLERANCE:g}; nothing was written."
        )
    return Exported(data, own, opset, difference)


def parity(network: nn.Module, spec: ModelSpec, data: bytes) -> float:
    """The largest difference between an ONNX model's scores and those of torch, NaN if either gives NaN.

    Args:
        network: that was exported.
        spec: of it.
        data: the ONNX file.
    """
    from geoseg.model.backend_onnx import session

    running = session(data)
    graph = Graph(network, spec, spec.band_names).eval()
    ones, zeros = (torch.full((1, len(spec.bands), 1, 1), value) for value in (1.0, 0.0))
    worst = 0.0
    for chip in sample_chips(spec):
        image = torch.from_numpy(chip)[None]
        with torch.inference_mode():
            ours = graph(image, ~torch.isnan(image), ones, zeros).numpy()
        theirs = running.run(None, {_INPUT: image.numpy()})[0]
        worst = float(np.maximum(worst, np.abs(ours - theirs).max()))  # np.maximum keeps NaN
    return worst


def sample_chips(spec: ModelSpec, count: int = 2, seed: int = 0) -> list[NDArray[np.float32]]:
    """Chips (band, row, col) like the training data: fields of values from p1 to p99, grain, and a corner of NaN."""
    rng = np.random.default_rng(seed)
    cells = -(-spec.chip // 16)
    chips = []
    for _ in range(count):
        planes = []
        for band in spec.bands:
            low, high = _usual(band)
            coarse = rng.uniform(low, high, (cells, cells)).repeat(16, axis=0).repeat(16, axis=1)
            planes.append(coarse[: spec.chip, : spec.chip] + rng.normal(0, (high - low) / 50, (spec.chip,) * 2))
        chip = np.stack(planes).astype(np.float32)
        chip[:, : spec.chip // 8, : spec.chip // 4] = np.nan
        chips.append(chip)
    return chips


def _usual(band: Band) -> tuple[float, float]:
    """Values between which most of the training data lie, as far as the spec tells."""
    if band.quantiles is not None:
        return band.quantiles[0], band.quantiles[2]
    if band.curve == "linear":
        ends = band.mean - 2 * band.std, band.mean + 2 * band.std
    else:
        ends = (np.expm1(band.mean) / 0.005, np.expm1(band.mean + band.std / 2) / 0.005)
    low, high = sorted((end - band.offset) / band.scale for end in ends)
    return float(low), float(high)


def _spec_of(spec: ModelSpec, activation_bytes: int) -> ModelSpec:
    arch = spec.architecture
    options = {
        "normalization": "inside",
        "answer": "softmax",
        "activation_bytes": activation_bytes,
        "network": {"name": arch.name, "encoder": arch.encoder, "options": arch.options},
    }
    return replace(spec, architecture=Architecture(name=ARCHITECTURE, options=options), fixed_chip=True)


def _library() -> Any:
    """The package onnx.

    Raises:
        DeviceError: something of the extra is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401 (what checks the result)
        import onnxscript  # noqa: F401 (torch's newer exporter needs it)
    except ImportError as error:
        raise DeviceError(f"ONNX export needs {error.name}: pip install 'geoseg[onnx]'.") from error
    return onnx


def _converted(onnx: Any, whole: nn.Module, spec: ModelSpec) -> Any:
    """The ModelProto: any number of images, all else fixed.

    torch's older exporter is tried first: it takes a second instead of half a minute, and gives the older opset.

    Raises:
        ModelOutputError: neither exporter can.
    """
    example = torch.zeros(1, len(spec.bands), spec.chip, spec.chip)
    with warnings.catch_warnings(), torch.no_grad(), _silence():
        warnings.simplefilter("ignore")  # tracing, and what becomes of it in later versions
        try:
            file = io.BytesIO()
            target: Any = file  # typed as a path, for the newer exporter
            axes = {_INPUT: {0: "batch"}, _OUTPUT: {0: "batch"}}
            names: dict[str, Any] = {"input_names": [_INPUT], "output_names": [_OUTPUT]}
            torch.onnx.export(whole, (example,), target, dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
            model = onnx.load_from_string(file.getvalue())
        except (RuntimeError, TypeError, ValueError) as error:
            _log.debug("the older exporter: %s", " ".join(str(error).split())[:300])
            model = _converted_newer(whole, example, names, spec)
    model.ir_version = IR_VERSION
    # What is known here the exporter may have left open, and Deepness asks whether the answer is square.
    for port, channels in ((model.graph.input[0], len(spec.bands)), (model.graph.output[0], len(spec.classes))):
        for side, size in zip(port.type.tensor_type.shape.dim[1:], (channels, spec.chip, spec.chip), strict=True):
            side.dim_value = size
    return model


def _converted_newer(whole: nn.Module, example: Tensor, names: dict[str, Any], spec: ModelSpec) -> Any:
    """By torch's newer exporter.

    Raises:
        ModelOutputError: it cannot, either.
    """
    batch = ({0: torch.export.Dim("batch")},)
    several = example.repeat(2, 1, 1, 1)  # of a single image it would take the number for fixed
    try:
        program = torch.onnx.export(
            whole, (several,), dynamo=True, opset_version=NEWER_OPSET, dynamic_shapes=batch, verbose=False, **names
        )
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelOutputError(
            f"torch {torch.__version__} cannot export {spec.architecture.name} to ONNX: {reason}"
        ) from error
    return program.model_proto  # type: ignore[union-attr]


class _Off:
    """No, both as a value and when it is called."""

    def __bool__(self) -> bool:
        return False

    def __call__(self) -> bool:
        return False


@contextmanager
def _silence() -> Iterator[None]:
    """Without what both exporters print."""
    # The older one prints a whole graph from C++ when it gives up: torch 2.15 turns that on where it should only ask
    # whether it is on, by taking this function for its answer.
    core, name = torch._C, "_jit_is_onnx_log_enabled"  # noqa: SLF001 (it has no other name)
    switch = getattr(core, name, None)
    setattr(core, name, _Off())
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        setattr(core, name, switch)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
