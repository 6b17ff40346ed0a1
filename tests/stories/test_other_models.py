"""`geoseg models export` and `import FILE`: ONNX out and in, STAC, model card; every refusal one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from builders import write_raster
from cli_kit import Done, codes_of, cut, geoseg, names_in, reflectance_model
from onnx_kit import Deepness, convolution, need_onnx

from geoseg.model.file import find_model, load_tensors

BANDS = [{"name": "red", "mean": 10.0, "std": 5.0}, {"name": "green", "mean": 0.0, "std": 1.0}]
SPEC = {"bands": BANDS, "classes": ["dark", "bright"], "gsd_m": [5, 20], "unit": "dn", "chip": 32, "margin": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors", chip=64, margin=0)


def spec_file(folder: Path, **changes: Any) -> Path:
    path = folder / "spec.yaml"
    content = {key: value for key, value in (SPEC | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(content))
    return path


def imported(source: Path, *flags: object, out: str = "new.onnx", **changes: Any) -> Done:
    spec = spec_file(source.parent, **changes)
    return geoseg("models", "import", source, "--spec", spec, "-o", source.with_name(out), *flags)


# ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_onnx_out_and_in_gives_the_same_map(model: Path, sample: Path, tmp_path: Path) -> None:
    """The class raster of the ONNX file and of the model, on a real scene; any tile size (law 2)."""
    need_onnx()
    onnx = tmp_path / "toy.onnx"
    done = geoseg("models", "export", model, "--to", "onnx", "-o", onnx, "--scale", "0.0001", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["difference"] <= 1e-4
    assert (told["path"], told["opset"], told["form"]) == (str(onnx), 17, "onnx")
    scene = cut(sample, tmp_path / "piece.tif")
    maps = []
    for name, flags in (
        ("torch", ("-m", model, "--precision", "fp32")),
        ("onnx", ("-m", onnx, "--tile", "64")),
        ("whole", ("-m", onnx)),
    ):
        out = tmp_path / f"{name}.tif"
        done = geoseg("segment", scene, "-o", out, "-q", *flags)
        assert done.code == 0, done.err
        maps.append(codes_of(out))
    np.testing.assert_array_equal(maps[1], maps[2])
    assert (maps[0] != maps[1]).mean() < 1e-3
    assert np.unique(maps[0]).size > 2
    assert geoseg("info", scene, "-m", onnx).code == 0


def test_a_failing_comparison_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()
    monkeypatch.setattr("geoseg.model.export_onnx.parity", lambda *_: 2e-4)
    done = geoseg("models", "export", model, "--to", "onnx", "-o", tmp_path / "m.onnx")
    assert (done.code, "scores differ by 0.0002, more than 0.0001; nothing was written" in done.last) == (70, True)
    assert names_in(tmp_path) == set()


def test_mlm_and_card(model: Path, tmp_path: Path) -> None:
    done = geoseg("models", "export", model, "--to", "mlm", "-o", tmp_path / "toy.json")
    assert done.code == 0, done.err
    item = json.loads((tmp_path / "toy.json").read_text())
    assert (tmp_path / item["assets"]["model"]["href"]).samefile(model)
    assert geoseg("models", "export", "landcover", "--to", "card", "-o", tmp_path / "card.md").code == 0
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# landcover 0.2\n")
    assert "geoseg run scene.tif -m landcover" in card
    again = geoseg("models", "export", model, "--to", "card", "-o", tmp_path / "card.md")
    assert (again.code, "exists; pass --overwrite" in again.last) == (73, True)
    assert geoseg("models", "export", model, "--to", "card", "-o", tmp_path / "card.md", "--overwrite").code == 0
    assert "-m toy.safetensors" in (tmp_path / "card.md").read_text()


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--to", "onnx", "-o", "m.safetensors"), 2, "an ONNX file ends in .onnx"),
        (("--to", "onnx", "-o", "m.onnx", "--scale", "1,2"), 2, "--scale 1,2: give one number"),
        (("--to", "onnx", "-o", "m.onnx", "--scale", "0"), 2, "--scale 0: give one number, not 0"),
        (("--to", "card", "-o", "m.md", "--scale", "1"), 2, "--scale and --offset are for --to onnx"),
        (("--to", "card", "-o", "missing/m.md"), 73, "its folder does not exist"),
    ],
)
def test_calls_that_contradict_themselves(model: Path, tmp_path, monkeypatch, flags, code, says) -> None:
    monkeypatch.chdir(tmp_path)
    done = geoseg("models", "export", model, *flags)
    assert (done.code, says in done.last) == (code, True), done.err
    assert names_in(tmp_path) == set()


def test_the_model_is_not_its_own_output(model: Path) -> None:
    done = geoseg("models", "export", model, "--to", "card", "-o", model, "--overwrite")
    assert (done.code, "is the model itself" in done.last) == (2, True)


# ── ONNX in ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Class 1 where normalized red is above 0."""
    weight = np.zeros((2, 2, 1, 1))
    weight[1, 0] = 1.0
    return convolution(tmp_path / "made.onnx", weight, (0.0, 0.0))


def test_a_network_with_a_yaml_maps_a_scene(made: Path, tmp_path: Path) -> None:
    done = imported(made, "--json")
    assert done.code == 0, done.err
    new = tmp_path / "new.onnx"
    assert json.loads(done.out)["model"] == str(new)
    spec = find_model(str(new)).spec
    assert (spec.architecture.options["answer"], spec.fixed_chip, spec.name) == ("logits", True, "made")
    red = np.tile(np.arange(50, dtype="uint8"), (40, 1))
    red[:5] = 255
    scene = write_raster(tmp_path / "s.tif", np.stack([red, red]), nodata=255, names=["red", "green"])
    done = geoseg("segment", scene, "-m", new, "-o", tmp_path / "c.tif", "-q", "--sensor", "none")
    assert done.code == 0, done.err
    expected = (red > 10).astype("uint8")
    expected[:5] = 255
    np.testing.assert_array_equal(codes_of(tmp_path / "c.tif"), expected)
    shown = geoseg("models", "show", new)
    assert (shown.code, "0 dark, 1 bright" in shown.out) == (0, True)


def test_what_deepness_metadata_say_needs_no_yaml(tmp_path: Path) -> None:
    weight = np.eye(3)[:, :, None, None]
    metadata = {
        "model_type": "Segmentor",
        "class_names": {"0": "a", "1": "b", "2": "c"},
        "resolution": 60,
        "tiles_overlap": 25,
        "seg_thresh": 0.8,
        "standardization_mean": [0.5, 0.5, 0.5],
        "standardization_std": [0.2, 0.2, 0.1],
    }
    path = convolution(tmp_path / "d.onnx", weight, (0,) * 3, metadata=metadata, sides=(64, 64), softmax=True, batch=1)
    (tmp_path / "spec.yaml").write_text("bands: [red, green, blue]")
    done = geoseg("models", "import", path, "--spec", tmp_path / "spec.yaml", "-o", tmp_path / "new.onnx")
    assert done.code == 0, done.err
    assert "seg_thresh" in done.err
    spec = find_model(str(tmp_path / "new.onnx")).spec
    assert [(band.name, band.mean, band.std) for band in spec.bands] == [
        ("red", 127.5, 51.0),
        ("green", 127.5, 51.0),
        ("blue", 127.5, 25.5),
    ]
    assert (spec.unit, spec.gsd_m, spec.chip, spec.margin, spec.fixed_chip) == ("dn", (0.6, 0.6), 64, 8, True)
    assert spec.classes.names == ("a", "b", "c")
    assert spec.architecture.options["answer"] == "softmax"
    assert Deepness(tmp_path / "new.onnx").value("resolution") == 60  # its own metadata are still there


def test_free_sides_and_a_stride_let_chips_shrink(made: Path, tmp_path: Path) -> None:
    assert imported(made, stride=4).code == 0
    spec = find_model(str(tmp_path / "new.onnx")).spec
    assert (spec.fixed_chip, spec.stride) == (False, 4)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"bands": BANDS[:1]}, 78, "names 1 of the model's 2 bands"),
        ({"bands": None}, 78, "names none of the model's 2 bands"),
        ({"bands": ["red", "green"]}, 78, "band red lacks mean and std"),
        ({"classes": ["a", "b", "c"]}, 78, "names 3 of the model's 2 classes"),
        ({"classes": None}, 78, "names none of the model's 2 classes"),
        ({"gsd_m": None}, 78, "lacks gsd_m"),
        ({"output": "maps"}, 78, "output 'maps' is neither logits nor scores"),
        ({"output": ["logits"]}, 78, "is neither logits nor scores"),
        ({"chip": "large"}, 78, "spec.yaml: "),
        ({"classes": 2}, 78, "names none of the model's 2 classes"),
        ({"chips": 3}, 78, "has no key chips"),
    ],
)
def test_a_yaml_that_does_not_fit(made: Path, tmp_path: Path, changes, code, says) -> None:
    done = imported(made, **changes)
    assert (done.code, says in done.last) == (code, True), done.err
    assert not (tmp_path / "new.onnx").exists()


@pytest.mark.parametrize(
    ("weight", "made_with", "changes", "says"),
    [
        (np.zeros((2, 2, 1, 1)), {"sides": (64, 64)}, {}, "takes images of 64 pixels, its spec says chips of 32"),
        (np.zeros((2, 2, 1, 1)), {"batch": 8}, {}, "takes 8 images at a time"),
        (np.zeros((2, 2, 3, 3)), {"crop": 1}, {}, "answers 2 × 31 × 31 for a chip of 32 × 32"),
        (np.full((2, 2, 1, 1), np.nan), {}, {}, "answers NaN or infinity"),
        (np.zeros((2, 2, 1, 1)), {"metadata": {"model_type": "Detector"}}, {}, "is a Detector for Deepness"),
        (np.zeros((2, 2, 1, 1)), {}, {"output": None}, "between 0 and 1 that do not sum to 1"),
    ],
)
def test_networks_that_do_not_fit(tmp_path: Path, weight, made_with, changes, says) -> None:
    path = convolution(tmp_path / "x.onnx", weight, [0.3] * len(weight), **made_with)
    done = imported(path, **changes)
    assert (done.code, says in done.last) == (78, True), done.err
    assert not (tmp_path / "new.onnx").exists()


def test_numbers_that_do_not_tell_are_what_the_yaml_says(tmp_path: Path) -> None:
    path = convolution(tmp_path / "x.onnx", np.zeros((2, 2, 1, 1)), [0.3, 0.3])
    assert imported(path, output="scores").code == 0
    assert find_model(str(tmp_path / "new.onnx")).spec.architecture.options["answer"] == "scores"


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("made.onnx", "-o", "m.onnx"), 2, "needs --spec SPEC.yaml and -o FILE"),
        (("made.onnx", "--spec", "spec.yaml"), 2, "needs --spec SPEC.yaml and -o FILE"),
        (("made.onnx", "--spec", "spec.yaml", "-o", "m.safetensors"), 2, "ends in .onnx"),
        (("made.tif", "--spec", "spec.yaml", "-o", "m.onnx"), 2, "is none of .onnx, .ckpt"),
        (("none.onnx", "--spec", "spec.yaml", "-o", "m.onnx"), 66, "does not exist"),
        (("made.onnx", "--spec", "none.yaml", "-o", "m.onnx"), 66, "none.yaml"),
        (("made.onnx", "--spec", "spec.yaml", "-o", "made.onnx"), 73, "exists; pass --overwrite"),
        (("dynamicworld", "folder", "--spec", "spec.yaml"), 2, "dynamicworld needs neither"),
        (("yolo", "folder"), 2, "'yolo': geoseg knows"),
    ],
)
def test_calls_that_miss_something(made: Path, tmp_path, monkeypatch, args, code, says) -> None:
    monkeypatch.chdir(tmp_path)
    spec_file(tmp_path)
    done = geoseg("models", "import", *args)
    assert (done.code, says in done.last) == (code, True), done.err


def test_an_onnx_model_cannot_be_trained_imported_or_exported_again(made: Path, tmp_path: Path) -> None:
    assert imported(made).code == 0
    again = imported(tmp_path / "new.onnx", out="again.onnx")
    assert (again.code, "has geoseg's spec already" in again.last) == (78, True)
    done = geoseg("models", "export", tmp_path / "new.onnx", "--to", "onnx", "-o", tmp_path / "x.onnx")
    assert (done.code, "is an ONNX file already" in done.last) == (78, True)
    with pytest.raises(ValueError, match="has no tensors to build on"):
        load_tensors(tmp_path / "new.onnx")


def test_a_scene_without_the_bands_is_refused(made: Path, tmp_path: Path) -> None:
    assert imported(made).code == 0
    scene = write_raster(tmp_path / "s.tif", np.zeros((1, 40, 40), "uint8"), names=["red"])
    done = geoseg("segment", scene, "-m", tmp_path / "new.onnx", "-o", tmp_path / "c.tif", "--sensor", "none")
    assert (done.code, "needs band green" in done.last) == (78, True)
