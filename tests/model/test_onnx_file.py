"""The header of ONNX files, read without ONNX' own library, which here is the oracle."""

import json
from dataclasses import replace

import numpy as np
import pytest
from builders import linear_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_kit import convolution, need_onnx

from geoseg.errors import ConfigError
from geoseg.model.file import find_model
from geoseg.model.onnx_file import OnnxHeader, Port, check_ports, read_header, read_onnx_spec, with_spec
from geoseg.model.protobuf import spans
from geoseg.model.spec import Architecture

onnx = need_onnx()
WEIGHT, BIAS = np.zeros((3, 2, 3, 3)), (0.0, 0.0, 0.0)


def onnx_spec(bands, classes, **options):
    given = {"answer": "logits", "activation_bytes": 0} | options
    return linear_spec(bands, classes, architecture=Architecture(name="onnx", options=given))


SPEC = onnx_spec(2, 3)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return convolution(tmp_path_factory.mktemp("onnx") / "toy.onnx", WEIGHT, BIAS, metadata={"resolution": 50})


def test_the_header_is_what_the_library_reads(toy):
    assert read_header(toy) == OnnxHeader(
        metadata={"resolution": "50"},
        inputs=(Port("image", 1, ("batch", 2, "row", "col")),),
        outputs=(Port("logits", 1, ("batch", 3, "row", "col")),),
        opset=17,
        parameters=57,
        external=False,
    )


@given(
    metadata=st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=300), max_size=5),
    sides=st.lists(st.one_of(st.integers(1, 2**31), st.text(min_size=1, max_size=9)), min_size=1, max_size=6),
)
@settings(max_examples=25)
def test_any_metadata_and_shape(tmp_path, metadata, sides):
    helper = onnx.helper
    port = helper.make_tensor_value_info("x", 1, sides)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [port], [port])
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    header = read_header(tmp_path / "m.onnx")
    assert dict(header.metadata) == metadata
    assert header.inputs[0].shape == tuple(sides)


def test_a_spec_is_added_and_replaced_and_nothing_else_changes(toy, tmp_path):
    once = with_spec(toy.read_bytes(), SPEC)
    twice = with_spec(once, replace(SPEC, version="2"))
    model = onnx.load_from_string(twice)
    onnx.checker.check_model(model)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert set(kept) == {"resolution", "geoseg"}
    assert json.loads(kept["geoseg"])["version"] == "2"
    del model.metadata_props[1]
    assert model == onnx.load(toy)
    (tmp_path / "m.onnx").write_bytes(twice)
    assert read_onnx_spec(tmp_path / "m.onnx") == replace(SPEC, version="2")
    assert find_model(str(tmp_path / "m.onnx")).spec.version == "2"


def test_a_file_without_spec_says_how_to_import_it(toy):
    with pytest.raises(ConfigError, match=r"does not say what its 2 bands are: geoseg models import .*toy.onnx --spec"):
        find_model(str(toy))


@given(end=st.integers(0, 10_000))
def test_a_torn_file_is_one_line(toy, tmp_path_factory, end):
    data = toy.read_bytes()
    torn = tmp_path_factory.getbasetemp() / "torn.onnx"
    torn.write_bytes(data[: end % len(data)])
    whole = {at for number, _, at in spans(data) if number >= 8}  # graph and opset stand before
    if end % len(data) in whole:
        assert read_header(torn).outputs == read_header(toy).outputs
    else:
        with pytest.raises(ConfigError, match="is not an ONNX file, or it is damaged"):
            read_header(torn)


def test_other_files_are_no_models(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"<!doctype html><html>log in</html>")
    with pytest.raises(ConfigError, match="is not an ONNX file"):
        find_model(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("made", "spec", "says"),
    [
        ({}, onnx_spec(4, 3), "takes 2 bands, its spec names 4"),
        ({}, onnx_spec(2, 5), "answers 3 classes, its spec names 5"),
        ({"sides": (64, 64)}, SPEC, "takes images of 64 pixels, its spec says chips of 32"),
        ({"batch": 4}, SPEC, "takes 4 images at a time"),
        ({}, linear_spec(2, 3), "its spec is not of an ONNX graph .architecture 'linear'"),
        ({}, onnx_spec(2, 3, answer="maps"), "answer 'maps'"),
        ({}, onnx_spec(2, 3, activation_bytes="much"), "activation_bytes 'much'"),
    ],
)
def test_a_spec_of_another_network_is_refused(tmp_path, made, spec, says):
    path = convolution(tmp_path / "m.onnx", WEIGHT, BIAS, **made)
    path.write_bytes(with_spec(path.read_bytes(), spec))
    with pytest.raises(ConfigError, match=says):
        find_model(str(path))


def test_a_graph_of_another_kind_is_refused(toy, tmp_path):
    model = onnx.load(toy)
    for change, says in (
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), r"shape batch × 2 × row, type 1"),
        (lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 10), "type 10; geoseg needs"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "2 inputs and 1 outputs"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "weights in other files"),
    ):
        other = type(model)()
        other.CopyFrom(model)
        change(other)
        (tmp_path / "m.onnx").write_bytes(other.SerializeToString())
        with pytest.raises(ConfigError, match=says):
            check_ports(read_header(tmp_path / "m.onnx"), tmp_path / "m.onnx", 2, 3, 32)
