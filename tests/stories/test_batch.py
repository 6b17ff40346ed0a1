"""`geoseg batch`: what is to be done is done once, what changed again and with its reason, errors stay their own."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely
from cli_kit import cut, geoseg, names_in, states
from test_lazy_imports import loaded, run_python

import geoseg as geoseg_package
from geoseg.errors import OutputError, TemporaryError
from geoseg.io.record import verify_record
from geoseg.ledger.scene import BatchScene
from geoseg.ledger.store import Ledger
from geoseg.stories import lanes
from geoseg.stories.batch import merged
from geoseg.stories.batch_scene import Made

WEBP = b"RIFF"


class Maker:
    """Makes scenes without looking at them: what is made of pixels is other tests' business."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.calls = 0
        self.failures: dict[str, list[Exception]] = {}
        """What comes instead, once each."""

    def __call__(self, scene: BatchScene, folder: Path, watcher, turn, *, overwrite: bool, restart: bool) -> Made:
        self.calls += 1
        watcher.advance(0)
        with turn:
            if self.failures.get(scene.name):
                raise self.failures[scene.name].pop(0)
        record = folder / scene.folder / f"{scene.name}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(f"{overwrite} {restart}")
        self.made.append(scene.name)
        outputs = {f"{scene.folder}/{record.name}": record.stat().st_size}
        facts = {"mpx": 1.5, "polygons": 7, "area_ha": {"water": 2.0}, "warnings": [], "outputs": outputs}
        return Made(facts=facts, picture=WEBP)


@pytest.fixture
def maker(monkeypatch) -> Maker:
    maker = Maker()
    monkeypatch.setattr(lanes, "make_scene", maker)
    return maker


@pytest.fixture
def incoming(sample, tmp_path) -> Path:
    """Two good scenes and a broken one."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    for number, name in enumerate("ab"):
        cut(sample, folder / f"{name}.tif", col=380 + 20 * number, width=70, height=60)
    (folder / "broken.tif").write_text("<html>not found</html>")
    return folder


@pytest.fixture
def call(incoming, model, tmp_path) -> list[object]:
    return ["batch", incoming, "-o", tmp_path / "out", "-m", model]


@pytest.fixture
def three(tmp_path, model) -> list[object]:
    """A call for three scenes that nobody opens."""
    for name in "abc":
        (tmp_path / f"{name}.tif").write_text(name)
    return ["batch", f"{tmp_path}/?.tif", "-o", tmp_path / "out", "-m", model]


def told(folder: Path) -> dict[str, dict]:
    return {scene["name"]: scene for scene in json.loads((folder / "report.json").read_text())["scenes"]}


def all_states(folder: Path) -> dict[str, object]:
    return {str(path): states(path) for path in (folder, *filter(Path.is_dir, folder.iterdir()))}


def test_nothing_is_merged_before_the_last_scene_is_settled(tmp_path) -> None:
    ledger = Ledger(tmp_path)
    ledger.create()
    ledger.enlist(["a"])
    assert merged(tmp_path, tmp_path / "all.gpkg") is None
    assert names_in(tmp_path) == {"state.sqlite"}


def test_a_night(call, incoming, sample, tmp_path) -> None:
    """Good scenes are made, a broken one is told, a rerun does nothing, and after mending and `retry` all is well."""
    out = tmp_path / "out"
    done = geoseg(*call)
    assert done.code == 3, done.err
    for name in "ab":
        assert verify_record(out / name / f"{name}.json") == []
    scenes = told(out)
    assert {name: s["state"] for name, s in scenes.items()} == {"a": "done", "b": "done", "broken": "failed"}
    assert (scenes["broken"]["exit_code"], str(incoming / "broken.tif") in scenes["broken"]["reason"]) == (65, True)
    assert f"failed   broken: {scenes['broken']['reason']}" in done.out.splitlines()
    assert json.loads((out / "status" / "a.json").read_text()) == scenes["a"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") == 2
    assert 'href="a/a.polygons.gpkg"' in page

    layer = tmp_path / "all.fgb"
    again = geoseg(*call, "--merge", layer)
    assert again.code == 3, again.err
    table = gpd.read_file(layer)
    own = {name: len(gpd.read_file(out / name / f"{name}.polygons.gpkg")) for name in "ab"}
    assert table["scene_id"].value_counts().to_dict() == own
    assert f"{len(table)} polygons of 2 scenes, written: {layer}" in again.out.splitlines()
    assert f"2 scenes, up to date: {layer}" in geoseg(*call, "--merge", layer).out

    before = all_states(out)
    words = [str(word) for word in call]
    again = run_python(f"from geoseg.cli import main\ntry: main({words!r})\nexcept SystemExit as end: print(end.code)")
    assert again.stdout == f"{done.out}3\n"
    assert set(loaded(again)) & {"torch", "dask", "pyogrio", "geopandas"} == set()
    assert all_states(out) == before
    assert geoseg("batch", "status", out).code == 3

    cut(sample, incoming / "broken.tif", width=70, height=60)
    assert geoseg("batch", "retry", out).out.splitlines()[0] == "broken"
    assert geoseg("batch", "status", out).code == 75
    mended = geoseg(*call)
    assert mended.code == 0, mended.err
    assert re.findall(r"^(\w+): begun", mended.err, re.MULTILINE) == ["broken"]


def test_what_changed_is_made_anew(call, incoming, model, sample, tmp_path) -> None:
    """Also what `geoseg run` made before; where nothing changed nothing is made."""
    (incoming / "broken.tif").unlink()
    out = tmp_path / "out"
    assert geoseg("run", incoming / "a.tif", "-o", out / "a", "-m", model).code == 0
    before = states(out / "a")
    assert geoseg(*call).code == 0
    assert states(out / "a") == before
    assert told(out)["a"]["found_finished"]
    kept = states(out / "b")
    cut(sample, incoming / "a.tif", col=500, width=70, height=60)
    done = geoseg(*call)
    assert done.code == 0, done.err
    assert "a: begun again (a.tif changed)" in done.err
    assert told(out)["a"]["done_again_because"] == "a.tif changed"
    assert (states(out / "b") == kept, states(out / "a") == before) == (True, False)
    assert verify_record(out / "a" / "a.json") == []


def test_why_scenes_are_done_again(three, maker, model, tmp_path) -> None:
    """Mutation: sizes looked at without times."""
    out = tmp_path / "out"
    assert geoseg(*three).code == 0
    (tmp_path / "a.tif").write_text("A")
    (out / "b" / "b.json").unlink()
    said = geoseg(*three, "--dry-run").out.splitlines()
    assert said == ["a: again: a.tif changed", "b: again: b/b.json is missing", "c: done, stays"]
    assert geoseg(*three).code == 0
    assert sorted(maker.made) == ["a", "a", "b", "b", "c"]
    done = geoseg(*three, "--skip-classes", "water")
    assert done.err.count('again (vector.skip_classes: [] → ["water"])') == 3
    assert (out / "a" / "a.json").read_text() == "True True"
    os.utime(model, ns=(0, 0))
    assert geoseg(*three, "--tile", "64", "--skip-classes", "water", "--dry-run").out.count("done, stays") == 3


def test_files_of_others_are_not_overwritten(call, incoming, tmp_path) -> None:
    (incoming / "b.tif").unlink()
    mine = tmp_path / "out" / "a" / "a.preview.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert geoseg(*call).code == 3
    assert mine.read_text() == "mine"
    assert told(tmp_path / "out")["a"]["exit_code"] == 73


def test_a_scene_that_is_too_cloudy_is_skipped_with_its_reason(sample, model, tmp_path) -> None:
    """A mask over the left 40 of 100 columns. Mutation: the share of what is masked compared."""
    cut(sample, tmp_path / "half.tif", width=100, height=50)
    cloud = tmp_path / "cloud.geojson"
    with rasterio.open(tmp_path / "half.tif") as image:
        left, bottom, right, top = image.bounds
        box = shapely.box(left, bottom, left + 0.4 * (right - left), top)
        gpd.GeoDataFrame(geometry=[box], crs=image.crs).to_file(cloud)
    call = ["batch", tmp_path / "half.tif", "-o", tmp_path / "out", "-m", model, "--mask", cloud]
    done = geoseg(*call, "--min-clear", "61%")
    assert done.code == 0, done.err
    assert "skipped  half: 60% of its pixels are clear, less than 61%" in done.out.splitlines()
    assert not (tmp_path / "out" / "half").exists()
    assert "again (min_clear: 0.61 → 0.6)" in geoseg(*call, "--min-clear", "60%").err
    assert (tmp_path / "out" / "half" / "half.json").exists()


@pytest.mark.parametrize(("times", "code"), [(2, 0), (3, 3)])
def test_temporary_errors_are_tried_again_and_then_left(three, maker, tmp_path, times, code) -> None:
    maker.failures["a"] = [TemporaryError("the server is away.")] * times
    done = geoseg(*three, "--tries", "3", "--backoff", "0.01")
    assert done.code == code, done.err
    assert maker.calls == 2 + 3
    scene = told(tmp_path / "out")["a"]
    assert scene["tries"] == 3
    assert "the server is away. Again in 0.02 s." in done.err
    assert scene["reason"] == ("tried 3 times: the server is away." if code else "")


def test_a_bug_in_one_scene_does_not_end_the_others(three, maker, tmp_path) -> None:
    maker.failures["a"] = [RuntimeError("unforeseen")]
    assert geoseg(*three).code == 3
    scenes = told(tmp_path / "out")
    assert (scenes["a"]["reason"], scenes["a"]["exit_code"]) == ("bug: RuntimeError: unforeseen", 1)
    assert "raise self.failures[scene.name].pop(0)" in scenes["a"]["traceback"]
    assert [scenes[name]["state"] for name in "bc"] == ["done", "done"]


def test_a_full_disk_ends_the_batch_and_fails_no_scene(three, maker, tmp_path) -> None:
    full = OutputError("no room for a.")
    full.__cause__ = OSError(28, "No space left on device")
    maker.failures["a"] = [full]
    done = geoseg(*three)
    assert (done.code, "no room for a. The batch stops" in done.last) == (75, True)
    assert told(tmp_path / "out")["a"]["state"] == "waiting"
    assert geoseg(*three).code == 0
    assert sorted(maker.made) == ["a", "b", "c"]


def test_the_time_is_over(call, incoming, tmp_path, monkeypatch) -> None:
    """A scene under way stops at its next tile; what is finished of it is kept, and nothing counts as a try."""
    (incoming / "broken.tif").unlink()
    tiles = "*/.?.geoseg-*/tiles/*.tile"
    monkeypatch.setattr(lanes, "monotonic", lambda: 1e9 if list((tmp_path / "out").glob(tiles)) else 0.0)
    done = geoseg(*call, "--max-runtime", "1h", "--tile", "32")
    monkeypatch.undo()
    assert done.code == 75, done.err
    assert done.err.count("the time of --max-runtime is over") == 1
    rows = Ledger(tmp_path / "out").rows().values()
    assert {(row.state, row.tries) for row in rows} == {("waiting", 0)}
    assert list((tmp_path / "out").glob(tiles))
    assert geoseg(*call, "--tile", "32").code == 0


def test_the_same_from_python(three, maker, tmp_path) -> None:
    scenes = geoseg_package.read_scenes([str(three[1])])
    result = geoseg_package.batch(scenes, tmp_path / "out", geoseg_package.BatchSettings(shard=(1, 3)))
    assert [(row.name, row.state) for row in result.rows] == [("a", "done")]
    assert (result.exit_code, result.began, maker.made) == (0, 1, ["a"])


def test_shards_do_their_part_only(three, maker, tmp_path) -> None:
    out = tmp_path / "out"
    assert geoseg(*three, "--shard", "2/2").code == 0
    assert maker.made == ["b"]
    assert geoseg("batch", "status", out).code == 75
    assert geoseg(*three, "--shard", "1/2").code == 0
    assert sorted(maker.made) == ["a", "b", "c"]
    assert geoseg("batch", "status", out).code == 0


def test_one_scene_can_be_asked_for_again(three, maker, tmp_path) -> None:
    assert geoseg(*three).code == 0
    done = geoseg("batch", "retry", tmp_path / "out", "bb")
    assert (done.code, "no scene is called 'bb'" in done.last) == (2, True)
    assert geoseg("batch", "retry", tmp_path / "out", "b", "--json").out == '{\n  "waiting": [\n    "b"\n  ]\n}\n'
    assert re.findall(r"(\w+): begun again \(retry was asked for\)", geoseg(*three).err) == ["b"]


def test_scenes_of_one_model_follow_each_other(tmp_path, maker, monkeypatch) -> None:
    monkeypatch.setattr(lanes, "LANES", 1)
    lines = [f"  - {{inputs: {n}.tif, predict: {{model: {m}}}}}" for n, m in zip("abcdef", "xyxyzx", strict=True)]
    (tmp_path / "m.yaml").write_text("\n".join(["scenes:", *lines]))
    assert geoseg("batch", tmp_path / "m.yaml", "-o", tmp_path / "out").code == 0
    assert "".join(maker.made) == "acfbde"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    "at",
    ["publish:before-record", *(pytest.param(at, marks=pytest.mark.slow) for at in ("tile:2", "publish:recorded"))],
)
def test_killed_and_resumed(forked, call, incoming, tmp_path, at) -> None:
    """Nobody waits for the lease of a process that this computer knows to be dead; nothing is made twice."""
    (incoming / "broken.tif").unlink()
    out = tmp_path / "out"
    call = [*call, "--tile", "32"]
    assert forked.run(*call, failpoint=at).code == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in out.glob("*/?.json")}
    done = geoseg(*call)
    assert done.code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in made} == made
    for name in "ab":
        assert verify_record(out / name / f"{name}.json") == []
        assert not any(file.startswith(".") for file in names_in(out / name))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_asked_to_stop(forked, call, tmp_path) -> None:
    done = forked.run(*call, "--tile", "32", failpoint="tile:2 SIGTERM")
    assert (done.code, done.last) == (143, "error: terminated; run the same command again.")
    rows = Ledger(tmp_path / "out").rows()
    assert all(row.state != "running" for row in rows.values())
    assert all(row.tries == 0 for row in rows.values() if row.state == "waiting")
    assert geoseg(*call, "--tile", "32").code == 3


def test_clean_removes_leftovers_and_forgets(three, maker, tmp_path) -> None:
    out = tmp_path / "out"
    maker.failures["b"] = [OutputError("no.")]
    assert geoseg(*three).code == 3
    for name in "ab":
        tiles = out / name / f".{name}.geoseg-0123456789ab" / "tiles"
        tiles.mkdir(parents=True)
        (tiles / "1.tile").write_bytes(bytes(100))
    (tmp_path / "c.tif").unlink()
    assert geoseg(*three).code == 3
    assert json.loads(geoseg("batch", "clean", out, "--json").out) == {"freed": 200, "forgotten": ["c"], "busy": []}
    assert names_in(out / "a") == {"a.json"}
    assert not (out / "b").exists()
    assert names_in(out / "status") == {"a.json", "b.json"}
    assert (out / "c" / "c.json").exists()


def test_metrics_say_what_the_report_says(three, maker, tmp_path) -> None:
    maker.failures["b"] = [TemporaryError("away.")]
    assert geoseg(*three, "--metrics", tmp_path / "geoseg.prom", "--tries", "1").code == 3
    metrics = (tmp_path / "geoseg.prom").read_text().splitlines()
    assert 'geoseg_batch_scenes{batch="out",state="done"} 2' in metrics
    assert 'geoseg_batch_scene_exit_code{batch="out",scene="b"} 75' in metrics
    assert 'geoseg_batch_class_hectares{batch="out",class="water"} 4.0' in metrics
    assert not (tmp_path / "out" / "metrics.prom").exists()


def test_a_name_that_is_a_command_can_be_a_scene(tmp_path, maker, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").write_text("")
    assert "holds no batch" in geoseg("batch", "clean", tmp_path).last
    assert geoseg("batch", "run", "clean", "-o", "out").code == 0
    assert maker.made == ["clean"]
