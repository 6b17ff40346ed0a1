"""The door: several inputs, settings files, clean streams, exit codes, and no socket for local work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import write_raster
from cli_kit import BANDS, Done, command, cut, geoseg, names_in, polygons_in, reflectance_model, start

from geoseg.config import load_settings
from geoseg.io.record import verify_record
from geoseg.settings import RunSettings
from geoseg.stories.doctor import DoctorReport

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def pair(sample, tmp_path_factory) -> tuple[Path, Path]:
    """Two scenes of different size."""
    folder = tmp_path_factory.mktemp("pair")
    return cut(sample, folder / "west.tif", width=60, height=50), cut(sample, folder / "east.tif", col=500, width=70)


@pytest.mark.parametrize("name", ["run", "segment", "info"])
def test_several_inputs_need_a_word_on_what_they_are(pair, model, tmp_path, name) -> None:
    out = [] if name == "info" else ["-o", tmp_path / "out.tif"]
    done = geoseg(name, *pair, "-m", model, *out)
    assert done.code == 2
    assert all(flag in done.last for flag in ("--stack", "--each", "--mosaic"))
    assert done.err.count("\n") == 1
    assert names_in(tmp_path) == set()


def test_each_runs_both(pair, model, tmp_path) -> None:
    done = geoseg("run", *pair, "--each", "-o", tmp_path, "-m", model, "--json")
    assert done.code == 0, done.err
    scenes = json.loads(done.out)["scenes"]
    assert [Path(scene["record"]).name for scene in scenes] == ["west.json", "east.json"]
    for scene, pixels in zip(scenes, (60 * 50, 70 * 150), strict=True):
        assert sum(scene["summary"]["pixels"].values()) == pixels
        assert verify_record(Path(scene["record"])) == []
    for name in ("west", "east"):
        assert set(polygons_in(tmp_path / f"{name}.polygons.gpkg").scene_id) == {name}


def test_each_of_one_answers_like_each_of_many(pair, model, tmp_path) -> None:
    done = geoseg("run", pair[0], "--each", "-o", tmp_path, "-m", model, "--json")
    assert len(json.loads(done.out)["scenes"]) == 1


def test_each_goes_on_after_a_scene_that_fails(pair, model, tmp_path) -> None:
    """Three inputs, the second one no raster: two results, one line, exit 3."""
    bad = tmp_path / "bad.tif"
    bad.write_text("no raster")
    done = geoseg("run", pair[0], bad, pair[1], "--each", "-o", tmp_path / "out", "-m", model, "--json", "-q")
    assert done.code == 3
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [done.last]
    answer = json.loads(done.out)
    assert [Path(scene["record"]).stem for scene in answer["scenes"]] == [path.stem for path in pair]
    assert [(row["input"], row["exit_code"]) for row in answer["failed"]] == [(str(bad), 65)]


def test_each_refuses_names_that_would_meet(pair, model, tmp_path) -> None:
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "west.tif"
    twin.write_bytes(pair[0].read_bytes())
    done = geoseg("run", pair[0], twin, "--each", "-o", tmp_path / "out", "-m", model)
    assert (done.code, "'west'" in done.last) == (2, True)
    done = geoseg("run", *pair, "--each", "--name", "one", "-o", tmp_path / "out", "-m", model)
    assert (done.code, "--name" in done.last) == (2, True)
    assert not (tmp_path / "out").exists()


def test_stack_is_one_scene_named_after_the_first(pair, model, sample, tmp_path) -> None:
    bands = "blue=1,green=2,red=3,nir=4,swir16=b.tif:5,swir22=b.tif:6"
    first, second = cut(sample, tmp_path / "a.tif"), cut(sample, tmp_path / "b.tif")
    done = geoseg("run", first, second, "--stack", "--bands", bands, "-o", tmp_path / "out", "-m", model)
    assert done.code == 0, done.err
    assert verify_record(tmp_path / "out" / "a.json") == []


@pytest.mark.parametrize("path", sorted((CONFIGS / "run").glob("*.yaml")), ids=lambda p: p.name)
def test_committed_settings_load(path) -> None:
    assert isinstance(load_settings(path), RunSettings)


def test_the_settings_file_that_lists_all_defaults_does(tmp_path) -> None:
    assert load_settings(CONFIGS / "run" / "all-settings.yaml") == RunSettings()


def test_flags_win_over_the_settings_file(pair, model, tmp_path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(
        f"predict: {{model: '{model}', margin: 6, confidence: true}}\n"
        "vector: {formats: [fgb, geojson], skip_classes: [water]}\noutput: {name: bay}\n"
    )
    done = geoseg("run", pair[0], "-o", tmp_path / "out", "--config", config, "--format", "parquet", "--margin", "8")
    assert done.code == 0, done.err
    names = names_in(tmp_path / "out")
    assert {"bay.confidence.tif", "bay.polygons.parquet"} <= names
    assert not [name for name in names if name.endswith((".fgb", ".geojson", ".gpkg"))]
    settings = json.loads((tmp_path / "out" / "bay.json").read_text())["properties"]["geoseg:settings"]
    assert (settings["predict"]["margin"], settings["vector"]["skip_classes"]) == (8, ["water"])
    # The same, said in flags alone, is the same result.
    said = ["-m", model, "--margin", "8", "--confidence", "--format", "parquet", "--skip-classes", "water"]
    assert "up to date" in geoseg("run", pair[0], "-o", tmp_path / "out", *said, "--name", "bay").out


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (None, 66, "settings.yaml"),
        ("predict: {modle: a}", 78, "predict.modle"),
        ("predict: {margin: x}", 78, "predict.margin"),
        ("predict: {margin: -1}", 78, "margin"),
        ("read: {valid: all}\nread: {valid: any}", 78, "'read' occurs twice"),
        ("read: !!python/object:os.system {}", 78, "python/object"),
        ("- a", 78, "mapping"),
        ("\tread: 1", 78, "settings.yaml"),
    ],
)
def test_a_bad_settings_file_is_one_line(pair, tmp_path, text, code, says) -> None:
    config = tmp_path / "settings.yaml"
    if text is not None:
        config.write_text(text)
    done = geoseg("run", pair[0], "-o", tmp_path / "out", "--config", config)
    assert (done.code, says in done.last, str(config) in done.last) == (code, True, True)
    assert done.err.count("\n") == 1


def test_json_is_all_there_is_on_standard_output(pair, model, tmp_path) -> None:
    calls = {
        "run": [pair[0], "-o", tmp_path / "out", "-m", model],
        "segment": [pair[0], "-o", tmp_path / "s.classes.tif", "-m", model],
        "vectorize": [tmp_path / "s.classes.tif", "-o", tmp_path / "s.gpkg"],
        "info": [pair[0], "-m", model],
        "doctor": [],
    }
    for name, args in calls.items():
        done = geoseg(name, *args, "--json")
        assert done.code == 0, done.err
        assert isinstance(json.loads(done.out), dict), name
    done = geoseg("models", "show", model, "--json")
    assert json.loads(done.out)["name"] == "toy"
    assert "models" in json.loads(geoseg("models", "list", "--json").out)


def test_quiet_leaves_only_warnings_on_standard_error(pair, model, tmp_path) -> None:
    loud = geoseg("run", pair[0], "-o", tmp_path / "loud", "-m", model)
    assert "100 %" in loud.err
    assert "reflectance = DN·0.0001 +0 (file): blue, green" in loud.err
    assert "wrote" not in loud.err
    assert geoseg("run", pair[0], "-o", tmp_path / "quiet", "-m", model, "-q").err == ""


def test_a_demonstration_model_is_called_one_each_time(pair, tmp_path) -> None:
    model = reflectance_model(tmp_path / "m.safetensors", demonstration=True, purpose="shows the way, accuracy 61 %")
    for _ in range(2):
        done = geoseg("run", pair[0], "-o", tmp_path / "out", "-m", model, "-q")
        assert done.err == "warning: toy is a demonstration model: shows the way, accuracy 61 %\n"
    record = json.loads((tmp_path / "out" / "west.json").read_text())
    assert "accuracy 61 %" in record["geoseg:summary"]["warnings"][0]


def test_doctor_ends_with_69_only_when_something_is_broken(monkeypatch) -> None:
    assert geoseg("doctor").code == 0
    monkeypatch.setattr("geoseg.stories.doctor.doctor", lambda: DoctorReport({}, ("torch does not work",), ()))
    done = geoseg("doctor")
    assert (done.code, "problem: torch does not work" in done.out) == (69, True)


def test_without_arguments_the_usage_is_shown() -> None:
    assert geoseg("run").code == 2
    assert "Usage: geoseg run" in geoseg("run").err
    done = geoseg("run", "a.tif", "-o", "out", "--nonsense")
    assert (done.code, "--nonsense" in done.last) == (2, True)


@pytest.mark.parametrize("value", ["1,x", "", "0.1;0.2"])
def test_numbers_that_are_none_are_told(value) -> None:
    done = geoseg("run", "a.tif", "-o", "out", "--scale", value)
    assert (done.code, "--scale" in done.last) == (2, True)


def test_a_bug_is_a_traceback_and_exit_1(tmp_path) -> None:
    script = (
        "import geoseg.stories.doctor as d\nd.doctor = lambda: 1 / 0\n"
        "from geoseg.cli import main\nmain(['doctor'], prog_name='geoseg')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.strip().endswith("ZeroDivisionError: division by zero")


def test_debug_shows_where_a_users_error_comes_from(tmp_path) -> None:
    call = ["info", tmp_path / "none.tif"]
    plain = subprocess.run(command(*call), capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stderr.count("\n"), plain.stdout) == (66, 1, "")
    debug = subprocess.run(command(*call, "--debug"), capture_output=True, text=True, check=False)
    assert debug.returncode == 66
    assert "Traceback" in debug.stderr
    assert debug.stderr.splitlines()[-1] == plain.stderr.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("closed", ["reader gone", "never open"])
def test_a_closed_standard_output_is_no_bug(tmp_path, closed) -> None:
    """`geoseg vectorize … | head -0`: the work is done and published, nobody listens."""
    read, write = os.pipe()
    os.close(read)
    more = {"stdout": write} if closed == "reader gone" else {"preexec_fn": lambda: os.close(1)}
    codes = write_raster(tmp_path / "codes.tif", np.ones((3, 4), "uint8"))
    child = start("vectorize", codes, "-o", tmp_path / "codes.fgb", "-q", **more)
    os.close(write)
    _, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    assert verify_record(tmp_path / "codes.fgb.json") == []


NO_SOCKETS = """
import sys
def refuse(event, args):
    if event.startswith("socket."):
        raise PermissionError(f"{event} {args}")
sys.addaudithook(refuse)
from geoseg.cli import main
main(prog_name="geoseg")
"""


def without_sockets(*args) -> Done:
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, *map(str, args)], capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_local_work_opens_no_socket(pair, model, tmp_path) -> None:
    done = without_sockets("run", pair[0], "-o", tmp_path / "out", "-m", model, "--tile", "30")
    assert done.code == 0, done.err
    assert verify_record(tmp_path / "out" / "west.json") == []
    assert without_sockets("info", pair[0], "-m", model).code == 0


def test_the_socket_watch_sees_one(pair, model, tmp_path) -> None:
    done = without_sockets("run", pair[0], "-o", tmp_path / "out", "-m", model, "--scheduler", "tcp://127.0.0.1:1")
    assert done.code != 0
    assert "socket." in done.err


def test_spaces_and_unicode_in_names(sample, model, tmp_path) -> None:
    scene = cut(sample, tmp_path / "Müritz 100 % 'süd' #1.tif", width=50, height=40)
    done = geoseg("run", scene, "-o", tmp_path / "out put", "-m", model, "--format", "gpkg,shp,geojson,fgb,parquet")
    assert done.code == 0, done.err
    assert verify_record(tmp_path / "out put" / f"{scene.stem}.json") == []
    assert set(polygons_in(tmp_path / "out put" / f"{scene.stem}.polygons.shp").scene_id) == {scene.stem}


@pytest.mark.parametrize("stem", ["2020-01-01T10:00", "a;b", "a!b", "a\\b", "a\nb", " a"])
def test_a_stem_that_cannot_name_files_asks_for_a_name(sample, model, tmp_path, stem) -> None:
    """pyogrio drops what follows a ; and writes into the working folder what follows a !."""
    scene = cut(sample, tmp_path / f"{stem}.tif", width=50, height=40)
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model)
    assert (done.code, "--name" in done.last, done.err.count("\n")) == (2, True, 1)
    assert geoseg("run", scene, "-o", tmp_path / "out", "-m", model, "--name", "morning").code == 0


def test_a_single_pixel_is_a_scene(model, tmp_path) -> None:
    scene = write_raster(tmp_path / "dot.tif", np.full((6, 1, 1), 1, "uint8"), names=BANDS)
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n_polygons"] == 1
