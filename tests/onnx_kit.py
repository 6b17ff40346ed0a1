"""ONNX files for tests: small graphs made by hand, and the reader of QGIS Deepness retold."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the extra geoseg[onnx] is not installed"


def need_onnx() -> Any:
    """The package onnx, or a skipped test."""
    for name in ("onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=REASON)
    return pytest.importorskip("onnx", reason=REASON)


def convolution(
    path: Path,
    weight: np.ndarray,
    bias: Sequence[float],
    *,
    metadata: Mapping[str, Any] | None = None,
    sides: tuple[int | str, int | str] = ("row", "col"),
    batch: int | str = "batch",
    softmax: bool = False,
    crop: int = 0,
) -> Path:
    """One convolution (class, band, kernel, kernel) with zero padding, perhaps with softmax behind it.

    metadata: values as JSON; crop: pixels missing at the answer's end.
    """
    onnx = need_onnx()
    helper, numpy = onnx.helper, onnx.numpy_helper
    classes, bands, kernel, _ = weight.shape
    pad = kernel // 2
    nodes = [helper.make_node("Conv", ["image", "w", "b"], ["logits"], pads=[pad] * 2 + [pad - crop] * 2)]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", float32, [batch, bands, *sides])],
        [helper.make_tensor_value_info("scores" if softmax else "logits", float32, [batch, classes, *sides])],
        [numpy.from_array(np.asarray(weight, np.float32), "w"), numpy.from_array(np.asarray(bias, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in (metadata or {}).items()})
    path.write_bytes(model.SerializeToString())
    return path


class Deepness:
    """A file as the plugin's `ModelBase` and `Segmentor` read it, key by key (src/deepness/processing/models)."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (port,) = self.session.get_inputs()
        self.input_name, self.input_shape = port.name, port.shape
        (answer,) = self.session.get_outputs()
        self.output_shape = answer.shape
        self.metadata = self.session.get_modelmeta().custom_metadata_map

    def value(self, key: str) -> Any:
        return json.loads(self.metadata[key])

    @property
    def class_names(self) -> list[str]:
        text = self.metadata["class_names"]
        try:
            names = json.loads(text)
        except json.decoder.JSONDecodeError:
            names = ast.literal_eval(text)
        rows = sorted(names.items(), key=lambda row: int(row[0]))
        assert [int(key) for key, _ in rows] == list(range(len(rows)))
        return [name for _, name in rows]

    @property
    def square(self) -> bool:
        """What it asks of a segmentation network's output."""
        return len(self.output_shape) == 4 and self.output_shape[2] == self.output_shape[3]

    def process(self, tiles: np.ndarray) -> np.ndarray:
        """Stored numbers (tile, row, col, band) → what the network answers (tile, class, row, col)."""
        batch = tiles[:, :, :, : self.input_shape[-3]]
        batch = np.float32(batch * 1.0 / 255.0)
        mean, std = (np.array(self.value(f"standardization_{name}"), np.float32) for name in ("mean", "std"))
        batch = np.transpose((batch - mean) / std, (0, 3, 1, 2))
        (answer,) = self.session.run(None, {self.input_name: batch})
        return answer
