"""Settings are frozen, complete, and refuse what cannot be meant."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from geoseg.errors import UsageError
from geoseg.settings import (
    OutputSettings,
    PredictSettings,
    ReadSettings,
    RunSettings,
    ScheduleSettings,
    VectorSettings,
)

SECTIONS = {
    "read": ReadSettings,
    "predict": PredictSettings,
    "schedule": ScheduleSettings,
    "vector": VectorSettings,
    "output": OutputSettings,
}


def test_every_section_has_defaults():
    assert {f.name: type(getattr(RunSettings(), f.name)) for f in dataclasses.fields(RunSettings)} == SECTIONS


@pytest.mark.parametrize("section", SECTIONS.values())
def test_sections_are_values(section):
    assert section() == section()
    assert pickle.loads(pickle.dumps(section())) == section()  # noqa: S301 (our own bytes)
    assert hash(section()) == hash(section())
    first = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section(), first, None)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (ReadSettings, {"scale": (0.1, float("nan"))}, "--scale 0.1,nan must be finite"),
        (ReadSettings, {"offset": (float("inf"),)}, "--offset inf must be finite"),
        (ReadSettings, {"scale": (0.0,)}, "--scale 0 would make every pixel equal"),
        (PredictSettings, {"device": "gpu"}, "--device 'gpu' is not auto, cpu, cuda, cuda:N or mps"),
        (PredictSettings, {"device": "cuda:"}, "--device 'cuda:'"),
        (PredictSettings, {"device": "cuda:x"}, "--device 'cuda:x'"),
        (PredictSettings, {"device": ""}, "--device ''"),
        (PredictSettings, {"chip": 0}, "--chip 0"),
        (PredictSettings, {"margin": -1}, "--margin -1"),
        (PredictSettings, {"batch_size": 0}, "--batch-size 0"),
        (ScheduleSettings, {"tile": 0}, "--tile 0"),
        (ScheduleSettings, {"workers": 0}, "--workers 0"),
        (ScheduleSettings, {"workers": 1, "scheduler": "tcp://a:1"}, "give one of them"),
        (VectorSettings, {"mmu_connect": 6}, "--mmu-connect 6 is not 4 or 8"),
        (VectorSettings, {"simplify": -1.0}, "--simplify -1 must be meters, 0 to 1e+08"),
        (VectorSettings, {"simplify": 1e155}, "--simplify 1e+155 must be meters, 0 to 1e+08"),
        (VectorSettings, {"simplify": float("nan")}, "--simplify nan must be meters"),
        (VectorSettings, {"formats": ()}, "--format is empty; geoseg writes gpkg, shp, fgb, geojson, parquet"),
        (VectorSettings, {"formats": ("gpkg", "kml")}, "--format 'kml' is unknown"),
        (VectorSettings, {"formats": ("gpkgs",)}, "--format 'gpkgs' is unknown"),
        (ReadSettings, {"nodata": "abc"}, "--nodata 'abc' is neither a number nor 'none'"),
        (ReadSettings, {"collar": "7"}, "--collar '7' is not one of auto, 0, 255"),
        (PredictSettings, {"blend": "mean"}, "--blend 'mean' is not one of trim, taper"),
        (PredictSettings, {"tta": "d8"}, "--tta 'd8' is not one of none, flip, d4"),
        (PredictSettings, {"backend": "tvm"}, "--backend 'tvm' is not one of auto, torch, openvino"),
        (PredictSettings, {"precision": "fp8"}, "--precision 'fp8' is not one of"),
    ],
)
def test_values_out_of_range(section, values, message):
    with pytest.raises(UsageError) as caught:
        section(**values)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:15"])
def test_devices(device):
    assert PredictSettings(device=device).device == device


def test_one_word_stands_for_a_list_and_text_for_a_path():
    read = ReadSettings(bands="red=1,nir=2", scale=0.5, aoi="a.gpkg")
    assert (read.bands, read.scale, read.aoi) == (("red=1", "nir=2"), (0.5,), Path("a.gpkg"))
    vector = VectorSettings(formats=".GPKG,gpkg,shp", skip_classes="trees")
    assert (vector.formats, vector.skip_classes) == (("gpkg", "shp"), ("trees",))
