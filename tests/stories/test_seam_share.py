"""`--seam`: how many forward passes compare chips, whatever they find changes no map; a batch draws its scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import border_model, write_raster
from cli_kit import geoseg

from geoseg.errors import OutputError
from geoseg.io.sample import lot
from geoseg.ledger.scene import BatchScene
from geoseg.settings import OutputSettings, PredictSettings, RunSettings
from geoseg.stories.batch import batch
from geoseg.tiling.seam import USUAL_SHARE

NOT_SAMPLED = "seam: not sampled (--seam says how many chips are compared)"
SCENES = 12
SHARE = 0.5
CHIPS = 3


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """Wrong at a depth below 2 from its chip's edge; margin 4, stride 4, cells of 24 pixels."""
    return border_model(tmp_path_factory.mktemp("model") / "m.safetensors", 2, stride=4).path


def ones(path: Path, number: int = 0) -> Path:
    """Three chips; the number is part of the content, not of what the network sees."""
    data = np.ones((24, 72), "uint8")
    data[0, number] = 0
    return write_raster(path, data, nodata=0)


def item_of(folder: Path) -> dict:
    record = next(path for path in folder.glob("*.json") if "accuracy" not in path.name)
    return json.loads(record.read_text())


def sampled(folder: Path) -> int:
    return item_of(folder)["geoseg:summary"]["seam_pairs"]


def test_not_sampled_is_said_and_is_not_zero(network, tmp_path) -> None:
    scene = ones(tmp_path / "ones.tif")
    done = geoseg("run", scene, "-o", tmp_path / "none", "-m", network, "--seam", "0%")
    assert (done.code, NOT_SAMPLED in done.out.splitlines()) == (0, True), done.err
    item = item_of(tmp_path / "none")
    assert (item["properties"]["geoseg:seam"], item["properties"]["geoseg:seam_pairs"]) == (None, 0)
    assert "not sampled" in (tmp_path / "none" / "ones.report.html").read_text()
    usual = geoseg("run", scene, "-o", tmp_path / "usual", "-m", network)
    assert "seam: 0 % of pixels" in usual.out
    assert "not sampled" not in (tmp_path / "usual" / "ones.report.html").read_text()
    same = [(tmp_path / name / "ones.classes.tif").read_bytes() for name in ("none", "usual")]
    assert same[0] == same[1]


def test_a_finished_scene_is_not_done_again_for_another_sample(network, tmp_path) -> None:
    call = ["run", ones(tmp_path / "ones.tif"), "-o", tmp_path / "out", "-m", network]
    assert geoseg(*call).code == 0
    again = geoseg(*call, "--seam", "0%")
    assert (again.code, "up to date" in again.out) == (0, True)
    assert sampled(tmp_path / "out") == 1


@pytest.mark.parametrize(("first", "then", "code"), [("0%", "0%", 0), ("0%", "100%", 73), (None, "67%", 0)])
def test_finished_tiles_are_taken_on_for_the_same_sample_only(network, tmp_path, monkeypatch, first, then, code):
    """Two thirds of three chips are one pair, as without the setting; none is something else."""
    call = ["run", ones(tmp_path / "ones.tif"), "-o", tmp_path / "out", "-m", network, "--tile", "24", "-v"]
    with monkeypatch.context() as patch:

        def dies(*_, **__):
            raise OutputError("the disk is full")

        patch.setattr("geoseg.stories.rasters.write_class_cog", dies)
        assert geoseg(*call, *(() if first is None else ("--seam", first))).code == OutputError.exit_code
    done = geoseg(*call, "--seam", then)
    assert done.code == code, done.err
    assert ("resumed: 3 of 3 tiles" in done.err) == (code == 0)
    assert ("seam pairs" in done.err) == (code == 73)


def test_a_wrong_share_is_told(network, tmp_path) -> None:
    done = geoseg("run", ones(tmp_path / "ones.tif"), "-o", tmp_path / "out", "-m", network, "--seam", "120%")
    assert (done.code, "--seam '120%' is no share: write it as 30% or 0.3." in done.err) == (2, True)


def scenes_of(folder: Path, network: Path, seam: str | None = f"{SHARE:.0%}") -> list[BatchScene]:
    """A dozen scenes that differ in a pixel."""
    out = []
    for number in range(SCENES):
        name = f"s{number}"
        settings = RunSettings(predict=PredictSettings(model=str(network), seam=seam), output=OutputSettings(name=name))
        path = ones(folder / f"{name}.tif", number)
        out.append(BatchScene(name=name, inputs=(str(path),), settings=settings, folder=name))
    return out


def test_a_batch_draws_its_scenes_by_their_content(network, tmp_path) -> None:
    """Which are sampled is what each lot says, as many as the share asks for; alone, replayed or renamed the same."""
    scenes = scenes_of(tmp_path, network)
    assert batch(scenes, tmp_path / "out").exit_code == 0
    drawn = {scene.name: sampled(tmp_path / "out" / scene.name) for scene in scenes}
    assert drawn == {scene.name: int(CHIPS * SHARE / 2 + lot(scene.inputs)) for scene in scenes}
    assert set(drawn.values()) == {0, 1}
    for name in ("s0", next(name for name in drawn if drawn[name] != drawn["s0"])):
        other = (tmp_path / f"{name}.tif").rename(tmp_path / f"{name}_renamed.tif")
        alone = geoseg("run", other, "-o", tmp_path / name, "-m", network, "--seam", "50%", "--name", name)
        assert (alone.code, sampled(tmp_path / name)) == (0, drawn[name])
        other.rename(tmp_path / f"{name}.tif")
        done = geoseg("run", "--replay", tmp_path / "out" / name / f"{name}.json", "-o", tmp_path / f"{name}_again")
        assert done.code == 0, done.err
        count = len(item_of(tmp_path / "out" / name)["assets"])
        assert f"replay: {count} of {count} files have the same bytes as then" in done.out


def test_in_a_batch_the_usual_share_is_drawn_for(network, tmp_path) -> None:
    scene = scenes_of(tmp_path, network, seam=None)[0]
    assert batch([scene], tmp_path / "out").exit_code == 0
    item = item_of(tmp_path / "out" / "s0")
    assert item["properties"]["geoseg:settings"]["predict"]["seam"] == USUAL_SHARE
    assert item["geoseg:summary"]["seam_pairs"] == int(CHIPS * 0.02 / 2 + lot(scene.inputs))


def test_the_lot_is_of_the_content(tmp_path) -> None:
    """Whatever the file is called; over many contents it spreads."""
    paths = [ones(tmp_path / f"{number}.tif", number) for number in range(40)]
    lots = [lot([str(path)]) for path in paths]
    assert lot([str(ones(tmp_path / "copy.tif", 7))]) == lots[7]
    assert all(0 <= one < 1 for one in lots)
    assert len(set(lots)) == len(lots)
    assert np.histogram(lots, 4, (0, 1))[0].min() >= 3
