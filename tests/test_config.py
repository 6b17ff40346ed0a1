"""YAML settings: as strict as flags; what is wrong is named with file and key."""

import dataclasses
from pathlib import Path

import pytest

from geoseg.config import load_settings
from geoseg.errors import ConfigError, GeosegError, InputMissingError
from geoseg.settings import PredictSettings, ReadSettings, RunSettings, ScheduleSettings, VectorSettings

CONFIGS = Path(__file__).parents[1] / "configs" / "run"


def load(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(path)


def refused(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert caught.value.exit_code == 78
    assert message.startswith(f"settings {tmp_path / 'run.yaml'}")
    assert "\n" not in message
    assert len(message) < 500
    return message


FULL = """
read:
  together: stack
  bands: [red=3, nir=B08]
  scale: [0.0001]
  offset: [-0.1]
  nodata: 0
  collar: "0"
  aoi: area.gpkg
predict: {model: forest, device: cpu, precision: bf16, chip: 256, confidence: yes}
schedule: {tile: 512, workers: 2}
vector:
  formats: [gpkg, shp]
  skip_classes: [water, 30]
"""


def test_a_whole_file(tmp_path):
    assert load(tmp_path, FULL) == RunSettings(
        read=ReadSettings(
            together="stack",
            bands=("red=3", "nir=B08"),
            scale=(0.0001,),
            offset=(-0.1,),
            nodata="0",
            collar="0",
            aoi=Path("area.gpkg"),
        ),
        predict=PredictSettings(model="forest", device="cpu", precision="bf16", chip=256, confidence=True),
        schedule=ScheduleSettings(tile=512, workers=2),
        vector=VectorSettings(formats=("gpkg", "shp"), skip_classes=("water", "30")),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "null"])
def test_an_empty_file_is_the_defaults(tmp_path, text):
    assert load(tmp_path, text) == RunSettings()


def test_a_byte_order_mark_is_no_key(tmp_path):
    assert load(tmp_path, "\ufeffpredict: {chip: 64}").predict.chip == 64


def test_anchors_and_merges_are_fine(tmp_path):
    text = "predict: &base {chip: 64, device: cpu}\n"
    assert load(tmp_path, text).predict == PredictSettings(chip=64, device="cpu")
    merged = "schedule: {tile: 5}\npredict:\n  <<: {chip: 64, device: auto}\n  device: cpu\n"
    assert load(tmp_path, merged).predict == PredictSettings(chip=64, device="cpu")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("predict: {chp: 256}", ["predict.chp"]),
        ("predicted: {}", ["predicted"]),
        ("predict: {chip: big}", ["predict.chip", "'big'"]),
        ("predict: {chip: 2.5}", ["predict.chip", "2.5"]),
        ("predict: {chip: 0}", ["predict", "--chip 0 must be at least 1"]),
        ("predict: {device: gpu}", ["predict", "--device 'gpu' is not"]),
        ("predict: {precision: int8}", ["predict.precision", "'int8'"]),
        ("predict: 5", ["predict", "5"]),
        ("read: {valid: most}", ["read.valid", "'most'"]),
        ("read: {collar: 1}", ["read.collar", "'0'", "got '1'"]),
        ("read: {scale: [x]}", ["read.scale", "'x'"]),
        ("read: {scale: [0.1, x]}", ["read.scale.1", "'x'"]),
        ("read: {scale: [.nan]}", ["read", "--scale nan must be finite"]),
        ("output: {overwrite: maybe}", ["output.overwrite", "'maybe'"]),
        ("schedule: {workers: 1, scheduler: tcp://a:1}", ["schedule", "give one of them"]),
        ("vector: {formats: [kml]}", ["vector", "--format 'kml' is unknown"]),
        ("- read\n- predict", ["list"]),
        ("just words", ["str"]),
    ],
)
def test_bad_values_name_file_and_key(tmp_path, text, parts):
    message = refused(tmp_path, text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("predict: {chip: 1}\npredict: {chip: 2}", ["'predict' occurs twice", "line 2"]),
        ("predict:\n  chip: 1\n  chip: 2", ["'chip' occurs twice", "line 3"]),
        ("predict:\n\tchip: 1", ["'\\t'", "line 2"]),
        ("predict: {chip: 1", ["line 1"]),
        ("predict: !!python/object/apply:os.mkdir [evil]", ["tag:yaml.org,2002:python/object/apply:os.mkdir"]),
        ("predict: !!python/name:os.system", ["could not determine a constructor"]),
        ("predict: !chip 5", ["!chip"]),
        ("? [predict]\n: 5", ["a key must be plain text"]),
        ("? {a: 1}\n: 5", ["a key must be plain text"]),
        ("a: &a\n  b: *a", ["recursive"]),
        ("a: *nowhere", ["undefined alias"]),
        ("--- {}\n--- {}", ["single document"]),
        (b"predict: \xff\xfe", ["not UTF-8"]),
        (b"predict: \x00", ["position"]),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(tmp_path, text, parts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(tmp_path, text)
    for part in parts:
        assert part in message
    assert not (tmp_path / "evil").exists()


def test_a_bomb_of_aliases_does_not_go_off(tmp_path):
    """Ten levels of ten aliases: 10¹⁰ words if printed."""
    levels = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "a0" in refused(tmp_path, "\n".join(levels))
    nested = "read:\n  nodata:\n" + "\n".join(f"    {line}" for line in levels)
    assert "read.nodata" in refused(tmp_path, nested)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputMissingError) as caught:
            load_settings(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_settings_that_come_along_are_valid(path):
    assert isinstance(load_settings(path), RunSettings)


def test_the_list_of_all_settings_is_whole_and_says_the_defaults():
    path = CONFIGS / "all-settings.yaml"
    text = path.read_text(encoding="utf-8")
    assert load_settings(path) == RunSettings()
    for section in dataclasses.fields(RunSettings):
        for field in dataclasses.fields(getattr(RunSettings(), section.name)):
            assert f"  {field.name}:" in text
    assert issubclass(ConfigError, GeosegError)


def test_one_value_stands_for_a_list(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("read: {scale: 0.1, bands: 'red=1,nir=2'}\nvector: {formats: gpkg}")
    settings = load_settings(path)
    assert (settings.read.scale, settings.read.bands) == ((0.1,), ("red=1", "nir=2"))
    assert settings.vector.formats == ("gpkg",)


def test_values_mean_what_they_mean_as_flags(tmp_path):
    """YAML would make a time, a number and two masks of these. Mutation: the loader's timestamps left on."""
    path = tmp_path / "s.yaml"
    path.write_text("read: {datetime: 2018-08-15T15:43:00Z, collar: 0, nodata: 0, mask: 'auto:cloud,shadow'}")
    read = load_settings(path).read
    assert (read.datetime, read.collar, read.nodata) == ("2018-08-15T15:43:00Z", "0", "0")
    assert read.mask == ("auto:cloud,shadow",)
    path.write_text("read: {datetime: 2018-08-15}")
    assert load_settings(path).read.datetime == "2018-08-15"
