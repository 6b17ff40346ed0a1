"""`geoseg run --replay`: the same bytes where nothing differs, and a line for everything that does."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio
import shapely
from cli_kit import FORMATS, cut, geoseg, names_in
from test_options import FLAGS, with_value
from zone_kit import write_zones

from geoseg.config import settings_of
from geoseg.io.record import verify_record
from geoseg.settings import PredictSettings, RunSettings, ScheduleSettings
from geoseg.stac import settings_json
from geoseg.stories import past as past_module
from geoseg.stories.past import Call, Past
from geoseg.stories.replay import asked_then

MORE = ["--format", ",".join(FORMATS), "--confidence", "--probabilities", "--mmu", "9px", "--smooth", "--tile", "64"]
THEN = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def finished(piece, model, tmp_path_factory) -> Path:
    """The item of a run of long ago."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        now = Call.now
        patch.setattr(Call, "now", lambda *given: Call(**vars(now(*given)) | {"written": THEN}))
        assert geoseg("run", piece, "-o", folder, "-m", model, *MORE, "-q").code == 0
    return folder / "piece.json"


def assert_same_files(item: Path, folder: Path) -> None:
    """Every file but the record, byte for byte."""
    assert names_in(folder) == names_in(item.parent)
    other = [
        path.name
        for path in sorted(item.parent.iterdir())
        if path != item and path.read_bytes() != (folder / path.name).read_bytes()
    ]
    assert other == []


def changed(item: Path, folder: Path, **key: object) -> Path:
    """The same results, whose item says something else of what they were made from."""
    shutil.copytree(item.parent, folder)
    place = folder / item.name
    document = json.loads(place.read_text())
    document["geoseg:key"]["segment"] |= key
    place.write_text(json.dumps(document))
    return place


def test_the_same_bytes(finished, tmp_path) -> None:
    done = geoseg("run", "--replay", finished, "-o", tmp_path / "again")
    assert done.code == 0, done.err
    assert_same_files(finished, tmp_path / "again")
    count = len(names_in(finished.parent)) - 1
    assert done.out.splitlines()[-1] == f"replay: {count} of {count} files have the same bytes as then"
    assert f"replay: everything that the result depends on is as {finished} says" in done.err
    assert verify_record(tmp_path / "again" / "piece.json") == []
    with sqlite3.connect(tmp_path / "again" / "piece.polygons.gpkg") as database:
        assert database.execute("select last_change from gpkg_contents").fetchone() == ("2020-02-03T04:05:06.000Z",)
    dbf = (tmp_path / "again" / "piece.polygons.dbf").read_bytes()
    assert tuple(dbf[1:4]) == (2020 - 1900, 2, 3)


def test_a_replay_can_be_replayed_and_is_up_to_date(finished, tmp_path) -> None:
    for place, item in (("b", finished), ("b", finished), ("c", tmp_path / "b" / "piece.json")):
        done = geoseg("run", "--replay", item, "-o", tmp_path / place, "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert (told["replay"]["differences"], told["replay"]["other"]) == ([], [])
    assert_same_files(finished, tmp_path / "c")


def test_mutation_files_of_the_present_turn_it_red(finished, tmp_path, monkeypatch) -> None:
    """Named mutation: files carry the time of the repetition."""
    now = Call.now
    monkeypatch.setattr(past_module.Call, "now", lambda inputs, folder, _past: now(inputs, folder))
    assert geoseg("run", "--replay", finished, "-o", tmp_path / "again").code == 0
    with pytest.raises(AssertionError, match=r"piece\.polygons\.dbf"):
        assert_same_files(finished, tmp_path / "again")


def test_what_differs_is_told_line_by_line(finished, tmp_path) -> None:
    item = changed(finished, tmp_path / "old", geoseg="0.0.9", torch="1.0", processor="an abacus")
    done = geoseg("run", "--replay", item, "-o", tmp_path / "again")
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("warning: replay: ")]
    assert [line.split()[2] for line in lines] == ["segment.geoseg:", "segment.processor:", "segment.torch:"]
    assert lines[0].startswith('warning: replay: segment.geoseg: "0.0.9" → "')
    assert done.out.count("replay: differs: ") == 3
    assert_same_files(finished, tmp_path / "again")


def test_another_input_is_told_and_its_files_are_named(finished, sample, tmp_path) -> None:
    other = cut(sample, tmp_path / "piece.tif", row=421)
    done = geoseg("run", other, "--replay", finished, "-o", tmp_path / "again", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)["replay"]
    assert any(line.startswith("segment.input.1.blake2b: ") for line in told["differences"])
    assert {"piece.classes.tif", "piece.polygons.gpkg"} <= set(told["other"])
    assert "warning: replay: segment.input.1.blake2b" in done.err


def test_a_flag_wins_and_is_a_difference(finished, tmp_path) -> None:
    done = geoseg("run", "--replay", finished, "-o", tmp_path / "again", "--mmu", "12px", "--json")
    told = json.loads(done.out)["replay"]
    assert [line.partition(":")[0] for line in told["differences"]] == ["vector.mmu.default"]
    assert {"piece.raw.tif", "piece.confidence.tif"} <= set(told["same"])


def test_the_model_is_known_by_its_bytes(piece, model, home) -> None:
    mine = home / "mine.safetensors"
    shutil.copyfile(model, mine)
    assert geoseg("run", piece, "-o", home / "then", "-m", mine, "-q").code == 0
    mine.rename(home / "elsewhere.safetensors")
    item = home / "then" / "piece.json"
    done = geoseg("run", "--replay", item, "-o", home / "lost")
    assert (done.code, "sha256" in done.last, "-m" in done.last) == (66, True, True)
    given = geoseg("run", "--replay", item, "-o", home / "given", "-m", home / "elsewhere.safetensors", "--json")
    assert json.loads(given.out)["replay"]["other"] == []
    (home / "cache" / "models").mkdir(parents=True)
    (home / "elsewhere.safetensors").rename(home / "cache" / "models" / "other-name.safetensors")
    found = geoseg("run", "--replay", item, "-o", home / "found", "--json")
    assert json.loads(found.out)["replay"]["differences"] == []
    assert_same_files(item, home / "found")


def test_relative_paths_begin_where_they_did(piece, model, tmp_path, monkeypatch) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    for folder in (work, elsewhere):
        folder.mkdir()
    shutil.copyfile(piece, work / "piece.tif")
    shutil.copyfile(model, work / "m.safetensors")
    with rasterio.open(piece) as image:
        left, bottom, right, top = image.bounds
        write_zones(work / "aoi.gpkg", {"a": shapely.box(left + 100, bottom + 100, right - 300, top)}, crs=image.crs)
    monkeypatch.chdir(work)
    call = ["piece.tif", "-o", "out", "-m", "m.safetensors", "--aoi", "aoi.gpkg", "--datetime", "2018-08-15"]
    assert geoseg("run", *call, "-q").code == 0
    monkeypatch.chdir(elsewhere)
    done = geoseg("run", "--replay", "../work/out/piece.json", "-o", "again")
    assert done.code == 0, done.err
    assert Path.cwd() == elsewhere
    assert_same_files(work / "out" / "piece.json", elsewhere / "again")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--replay", "ITEM", "-o", "THERE"], 2, "holds the run to be repeated"),
        (["--replay", "ITEM", "-o", "NEW", "--config", "x.yaml"], 2, "give one of the two"),
        (["--replay", "ITEM", "-o", "NEW", "--each"], 2, "leave --each out"),
        (["--replay", "NEW/none.json", "-o", "NEW"], 66, "does not exist"),
        (["--replay", "THERE/other.json", "-o", "NEW"], 65, "only the item NAME.json of a run"),
        (["-o", "NEW"], 2, "no INPUT given"),
    ],
)
def test_what_cannot_be_replayed(finished, tmp_path, arguments, code, words) -> None:
    shutil.copytree(finished.parent, tmp_path / "there")
    (tmp_path / "there" / "other.json").write_text('{"geoseg:key": {}, "geoseg:files": []}')
    places = {"ITEM": tmp_path / "there" / "piece.json", "THERE": tmp_path / "there", "NEW": tmp_path / "new"}
    for word, place in places.items():
        arguments = [str(place) if a == word else a.replace(f"{word}/", f"{place}/") for a in arguments]
    done = geoseg("run", *arguments)
    assert (done.code, words in done.err) == (code, True), done.err


@pytest.mark.parametrize(("flag", "place", "value"), FLAGS, ids=lambda v: v if isinstance(v, str) else "")
def test_settings_come_back_as_they_were(flag, place, value) -> None:
    settings = with_value(RunSettings(), place, value)
    assert settings_of(json.loads(json.dumps(settings_json(settings))), "test") == settings


def test_what_was_resolved_then_is_asked_for_now(finished) -> None:
    past = Past.read(finished)
    assert past.key["segment"]["device"] == "cpu"
    gpu = {"device": "cuda", "precision": "bf16", "backend": "torch", "batch": "16"}
    past.key["segment"] |= gpu
    settings = RunSettings(predict=PredictSettings(precision="fp32"), schedule=ScheduleSettings(workers=7))
    asked = asked_then(settings, past)
    assert asked.predict == PredictSettings(device="cuda", precision="fp32", backend="torch", batch_size=16)
    assert asked.schedule == ScheduleSettings()
    assert asked.output.name == "piece"
