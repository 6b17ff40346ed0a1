"""What a run tells: JSON lines with scene, tiles and stages; the doctor's findings in its record."""

from __future__ import annotations

import json

from cli_kit import geoseg, states
from stac_kit import asset, item, write_item


def test_a_run_in_json_lines(piece, model, tmp_path) -> None:
    done = geoseg("run", piece, "-m", model, "-o", tmp_path / "out", "--tile", "64", "--log-format", "json", "-v")
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.err.splitlines()]
    assert len({line["run"] for line in told}) == 1
    assert [line["event"] for line in told][-1] == "end"
    assert {line.get("scene") for line in told} == {"piece", None}
    plan = next(line for line in told if line["event"] == "plan")
    assert sorted(line["tile"] for line in told if line["event"] == "tile") == list(range(plan["tiles"]))
    stages = [line["stage"] for line in told if line["event"] == "stage"]
    assert stages == ["prepare", "segment", "class raster", "vectorize"]  # as they end
    assert [line["tiles_done"] for line in told if line["event"] == "progress"][-1] == plan["tiles"]
    assert any(line["event"] == "note" and "reflectance" in line["message"] for line in told)
    quiet = geoseg("run", piece, "-m", model, "-o", tmp_path / "out", "--log-format", "json", "-q")
    assert [json.loads(line)["event"] for line in quiet.err.splitlines()] == ["end"]


def test_failed_scenes_are_told_with_their_exit_code(piece, model, tmp_path) -> None:
    lost = write_item(tmp_path, item("lost", {"red": asset("lost.tif", gsd=10)}), "lost.json")
    done = geoseg("run", lost, "--each", "-m", model, "-o", tmp_path / "out", "--log-format", "json")
    error, end = [json.loads(line) for line in done.err.splitlines()]
    assert (done.code, error["exit_code"], error["input"], end["exit_code"]) == (3, 66, str(lost), 3)


def test_the_record_keeps_what_the_doctor_found(piece, model, tmp_path) -> None:
    run = ("run", piece, "-m", model, "-o", tmp_path / "out", "-q")
    assert geoseg(*run).code == 0
    found = json.loads((tmp_path / "out" / "piece.json").read_text())["properties"]["geoseg:doctor"]
    told = json.loads(geoseg("doctor", "--json").out)
    assert found["networks"]["torch"] == told["networks"]["torch"]
    for heading in ("geoseg", "geography", "packages", "devices"):
        assert found[heading] == {name: told[heading][name] for name in found[heading]}
    assert {"onnxruntime", "openvino", "pystac-client"} <= set(found["packages"])
    before = states(tmp_path / "out")
    assert "up to date" in geoseg(*run).out
    assert states(tmp_path / "out") == before
