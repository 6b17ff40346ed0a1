"""`geoseg verify`: a single flipped bit in any output is found; what is no damage is told apart."""

from __future__ import annotations

import errno
import json
import random
import shutil
from pathlib import Path

import pytest
from cli_kit import geoseg, names_in

import geoseg as package
from geoseg.io import audit, record
from geoseg.io.lock import Holder


@pytest.fixture(scope="module")
def finished(piece, model, tmp_path_factory) -> Path:
    """Two results in a folder: one at its top, one below."""
    folder = tmp_path_factory.mktemp("finished")
    assert geoseg("run", piece, "-o", folder / "a" / "b", "-m", model, "--confidence", "-q").code == 0
    classes = folder / "a" / "b" / "piece.classes.tif"
    assert geoseg("vectorize", classes, "-o", folder / "more.shp").code == 0
    return folder


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def outputs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_whole_is_said_to_be(finished) -> None:
    done = geoseg("verify", finished)
    assert done.code == 0, done.err
    told = json.loads(geoseg("verify", finished, "--json").out)
    assert told["ok"] is True
    assert (told["damaged"], told["unnamed"], told["unfinished"]) == ([], [], [])
    assert told["files"] == len(outputs(finished))
    assert [Path(path).name for path in told["records"]] == ["more.shp.json", "piece.json"]
    assert done.out.endswith(f"{told['files']} files of 2 results, {told['bytes'] / 1e6:,.1f} MB: all as written\n")
    assert geoseg("verify", finished / "a" / "b" / "piece.json").code == 0


def test_a_flipped_bit_in_any_output_is_found(finished, tmp_path) -> None:
    """First, last and some bits between, of every file: data, styles, sidecars and the records themselves."""
    shutil.copytree(finished, tmp_path / "copy")
    rng = random.Random(8)
    for path in outputs(tmp_path / "copy"):
        bits = 8 * path.stat().st_size
        for bit in {0, bits - 1, *(rng.randrange(bits) for _ in range(40 if path.suffix == ".json" else 1))}:
            flip(path, bit)
            report = package.verify(path.parent)
            assert len(report.damaged) >= 1, f"{path.name}, bit {bit}"
            assert any(path.name in line for line in report.damaged), f"{path.name}, bit {bit}"
            flip(path, bit)
    assert package.verify(tmp_path / "copy").ok


def test_mutation_a_record_believed_on_its_word_turns_it_red(finished, tmp_path, monkeypatch) -> None:
    """Named mutation: the digest that a record has of itself is not looked at."""
    place = shutil.copytree(finished / "a" / "b", tmp_path / "copy") / "piece.json"
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace('"geoseg:areas"', '"geoseg:areat"'), encoding="utf-8")
    assert not package.verify(place.parent).ok
    monkeypatch.setattr(audit, "seal_problem", lambda _: None)
    assert package.verify(place.parent).ok


def test_damage_is_named_line_by_line(finished, tmp_path) -> None:
    place = shutil.copytree(finished / "a" / "b", tmp_path / "copy")
    (place / "piece.polygons.gpkg").unlink()
    flip(place / "piece.classes.tif", 12_345)
    with (place / "piece.confidence.tif").open("ab") as file:
        file.write(b"x")
    done = geoseg("verify", tmp_path)
    assert done.code == 65
    lines = [line for line in done.out.splitlines() if line.startswith("damaged: ")]
    assert [line.partition(" has ")[0].partition(" is ")[0] for line in lines] == [
        f"damaged: {place}/piece.{name}" for name in ("classes.tif", "confidence.tif", "polygons.gpkg")
    ]
    assert "bytes, the record says" in lines[1]
    assert lines[2].endswith("is missing. (piece.json)")
    assert "3 damaged" in done.out


def test_a_file_that_cannot_be_read_is_damaged(finished, monkeypatch) -> None:
    def broken(_: Path) -> record.FileEntry:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(record.FileEntry, "of", broken)
    report = package.verify(finished / "a")
    assert len(report.damaged) == report.files - 1
    assert "piece.preview.png cannot be read (Input/output error)" in " ".join(report.damaged)


def test_what_no_record_names_is_told_and_is_no_damage(finished, tmp_path) -> None:
    place = shutil.copytree(finished / "a" / "b", tmp_path / "copy")
    (place / "notes.txt").write_text("mine")
    (place / "mine.json").write_text("{}")
    (place / ".other.geoseg-0123456789ab" / "tiles").mkdir(parents=True)
    (place / ".other.geoseg-0123456789ab" / "tiles" / "1").write_text("")
    (place / ".other.geoseg.lock").write_bytes(Holder.current().to_bytes())
    (place / ".third.geoseg.lock").write_text("?")
    (place / ".third.geoseg.unfinished").write_text("third.tif")
    done = geoseg("verify", place)
    assert done.code == 0
    report = package.verify(place)
    assert [path.name for path in report.unnamed] == ["mine.json", "notes.txt"]
    assert [line.partition(" is ")[0] for line in report.unfinished] == [
        f"{place}/{name}"
        for name in (
            ".other.geoseg-0123456789ab",
            ".other.geoseg.lock",
            ".third.geoseg.lock",
            ".third.geoseg.unfinished",
        )
    ]
    assert "process" in report.unfinished[1]
    assert done.out.count("unfinished: ") == 4
    assert f"not recorded: {place}/notes.txt" in done.out


def test_nothing_to_verify_is_an_error(tmp_path) -> None:
    assert geoseg("verify", tmp_path).code == 65
    done = geoseg("verify", tmp_path / "none")
    assert (done.code, str(tmp_path / "none") in done.last) == (66, True)
    assert names_in(tmp_path) == set()


def test_a_seal_is_the_digest_of_the_text() -> None:
    text = record.sealed({"b": "é", "a": {"geoseg:seal": "0" * 64}, "geoseg:seal": "old"})
    assert record.seal_problem(text.encode()) is None
    assert json.loads(text) | {"geoseg:seal": ""} == {"b": "é", "a": {"geoseg:seal": "0" * 64}, "geoseg:seal": ""}
    assert "own digest" in str(record.seal_problem(text.replace("é", "e").encode()))
    assert "no digest" in str(record.seal_problem(b"{}"))
