"""A model file as a STAC item: what the specifications ask, and what the file is."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pytest
from builders import linear_model, linear_spec, unet_model
from mlm_rules import RULES
from pydantic import ValidationError
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from stac_model.schema import MLModelProperties

from geoseg.model.file import bundled, find_model, load_tensors
from geoseg.model.mlm import model_item
from geoseg.model.normalize import normalize
from geoseg.model.spec import Band

BANDS = (
    Band(name="red@1", mean=0.1, std=0.05, scale=2.0, offset=0.02, quantiles=(0.0, 0.1, 0.4)),
    Band(name="red@2", mean=0.3, std=0.1, optional=True),
    Band(name="swir16", mean=1.0, std=0.6, scale=1e4, curve="log_sigmoid"),
)


def item_of(path, output=None):
    """As it comes back from a file."""
    return json.loads(json.dumps(model_item(find_model(str(path)), output or Path(path).parent / "x.json")))


def faults(item):
    """What the specification of STAC, the extension's rules, and the package of the extension's makers find."""
    return [*against_schemas(item), *against_the_makers(item)]


def against_the_makers(item):
    try:
        MLModelProperties.model_validate(item["properties"])
    except ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return []


def against_schemas(item):
    resources = [(uri, Resource.from_contents(schema)) for uri, schema in get_local_schema_cache().items()]
    registry = Registry().with_resources(resources)
    stac = registry.contents("https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json")
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for schema in (stac, RULES)
        for error in jsonschema.Draft7Validator(schema, registry=registry).iter_errors(item)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    data = ({"name": "chips", "license": "CC0-1.0", "footprints": [[7, 50, 8, 51], [179, -20, -179, -19]]},)
    return linear_model(
        tmp_path_factory.mktemp("mlm") / "m x.safetensors",
        np.zeros((2, 3, 3, 3)),
        (0.0, 0.0),
        bands=BANDS,
        name="Wälder 2",
        unit="reflectance",
        training_data=data,
        training={"started_from": {"name": "theirs 1", "license": "MIT"}},
        license="MIT OR Apache-2.0",
        temperature=0.8,
    ).path


@pytest.mark.parametrize("name", sorted(bundled()))
def test_bundled_models_obey_the_specifications(name):
    path = bundled()[name]
    item = item_of(path)
    assert faults(item) == []
    assert pystac.Item.from_dict(item).properties["mlm:name"] == name


def test_every_kind_of_band_name_and_license(model, tmp_path):
    item = item_of(model, tmp_path / "deeper" / "item.json")
    assert faults(item) == []
    assert (item["id"], item["properties"]["mlm:name"]) == ("W-lder-2-1", "W-lder-2")
    assert (item["properties"]["license"], item["properties"]["geoseg:license"]) == ("other", "MIT OR Apache-2.0")
    assert item["properties"]["mlm:pretrained_source"] == "theirs 1"
    assert item["bbox"] == [-180, -20, 180, 51]
    assert item["geometry"]["type"] == "MultiPolygon"


def test_a_model_without_places_has_no_geometry(tmp_path):
    item = item_of(unet_model(tmp_path / "m.safetensors").path)
    assert faults(item) == []
    assert item["geometry"] is None
    assert "bbox" not in item


def test_the_asset_is_the_file(model):
    (asset,) = item_of(model)["assets"].values()
    assert (model.parent / asset["href"]).samefile(model)
    assert asset["href"] == "./m x.safetensors"
    assert asset["file:size"] == model.stat().st_size
    assert asset["file:checksum"] == "1220" + hashlib.sha256(model.read_bytes()).hexdigest()
    assert asset["mlm:artifact_type"] == "safetensors.torch.save_file"


def test_the_scaling_is_that_of_the_model(model):
    """Each band's scaling, executed, gives what law 10 gives."""
    (image,) = item_of(model)["properties"]["mlm:input"]
    values = np.linspace(0, 0.5, 30, dtype=np.float32).reshape(3, 2, 5)
    expected = normalize(values, BANDS)
    for plane, wanted, rule in zip(values.astype(float), expected, image["value_scaling"], strict=True):
        if rule["type"] == "z-score":
            found = (plane - rule["mean"]) / rule["stddev"]
        else:
            names = {"exp": np.exp, "log1p": np.log1p, "max": np.maximum, "x": plane}
            found = eval(rule["expression"], {"__builtins__": {}}, names)  # noqa: S307 (our own text)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_shapes_classes_and_size(model, tmp_path):
    properties = item_of(model)["properties"]
    (image,), (answer,) = properties["mlm:input"], properties["mlm:output"]
    assert image["input"]["shape"] == [-1, 3, -1, -1]
    assert [band["name"] for band in image["bands"]] == ["red@1", "red@2", "swir16"]
    assert answer["result"]["shape"] == [-1, 2, -1, -1]
    assert [row["value"] for row in answer["classification:classes"]] == [10, 20]
    assert "output / 0.8" in answer["post_processing_function"]["expression"]
    assert properties["mlm:total_parameters"] == 2 * 3 * 9 + 2
    unet = unet_model(tmp_path / "u.safetensors", fixed_chip=True)
    own = item_of(unet.path)["properties"]
    learned = [t for n, t in load_tensors(unet.path).items() if "running_" not in n and "num_batches" not in n]
    assert own["mlm:total_parameters"] == sum(tensor.numel() for tensor in learned)
    assert own["mlm:input"][0]["input"]["shape"] == [-1, 4, 128, 128]


def test_an_onnx_model(tmp_path):
    """Its normalization is inside, and its answer are scores."""
    from onnx_kit import convolution

    from geoseg.model.onnx_file import with_spec
    from geoseg.model.spec import Architecture

    path = convolution(tmp_path / "m.onnx", np.zeros((2, 3, 3, 3)), (0.0, 0.0), softmax=True)
    inner = {"name": "unet", "encoder": "resnet18", "options": {}}
    options = {"normalization": "inside", "answer": "softmax", "activation_bytes": 1, "network": inner}
    arch = Architecture(name="onnx", options=options)
    spec = linear_spec(3, 2, bands=BANDS, architecture=arch, fixed_chip=True)
    path.write_bytes(with_spec(path.read_bytes(), spec))
    item = item_of(path)
    assert faults(item) == []
    properties = item["properties"]
    assert (properties["mlm:framework"], properties["mlm:architecture"]) == ("ONNX", "unet, encoder resnet18")
    assert properties["mlm:input"][0]["value_scaling"] is None
    assert properties["mlm:output"][0]["name"] == "scores"
    assert properties["mlm:output"][0]["post_processing_function"]["expression"] == "classes[argmax(output, axis=1)]"
    assert item["assets"]["model"]["mlm:artifact_type"] == "onnx"
    assert properties["mlm:total_parameters"] == 56


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("properties", "mlm:name"), "2"),
        (("properties", "mlm:tasks"), ["segmenting"]),
        (("properties", "mlm:made_up"), 1),
        (("properties", "mlm:artifact_type"), "onnx"),
        (("assets", "model", "raster:bands"), []),
        (("properties", "mlm:input", 0, "input", "dim_order"), ["batch", "channel", "height", "width"]),
        (("properties", "mlm:input", 0, "value_scaling", 0), {"type": "z-score", "mean": 1}),
        (("properties", "mlm:output", 0, "classification:classes", 0, "color_hint"), "#ff0000"),
        (("assets", "model", "roles"), ["data"]),
        (("assets", "model", "mlm:artifact_type"), ""),
        (("stac_extensions",), []),
        (("properties", "datetime"), "yesterday"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_check_sees_faults(model, place, value):
    item = copy.deepcopy(item_of(model))
    part = item
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    assert faults(item) != []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("mlm:tasks",), ["segmenting"]),
        (("mlm:input", 0, "input", "shape"), "4"),
        (("mlm:input", 0, "bands"), 3),
        (("mlm:output", 0, "result"), None),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_makers_package_sees_faults(model, place, value):
    item = copy.deepcopy(item_of(model))
    assert against_the_makers(item) == []
    part = item["properties"]
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    assert against_the_makers(item) != []
