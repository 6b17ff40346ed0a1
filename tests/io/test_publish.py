"""Law 8: no incomplete file under a final name, no record that lies, whenever the process dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import InputError, InputMissingError, OutputError, OutputExistsError
from geoseg.io.publish import FileEntry, Publication, recorded, verify_record
from geoseg.io.record import key_differences, read_record

RECORD = "scene.json"
SCRIPT = """
import json, sys
from pathlib import Path
from geoseg.io.publish import Publication
folder, files, key, overwrite = json.loads(sys.argv[1])
with Publication(Path(folder), "scene.json", key, overwrite=overwrite, names=list(files)) as publication:
    if not publication.up_to_date:
        for name, text in files.items():
            publication.stage(name).write_text(text)
        publication.commit(lambda entries: {"type": "Feature", "files": sorted(entries)})
"""
OLD = {"scene.tif": "old raster", "scene.gpkg": "old polygons", "scene.shp": "old shapes"}
NEW = {"scene.tif": "new raster, longer", "scene.gpkg": "new polygons", "scene.png": "new picture"}
DEATHS = ["publish:staged", "publish:record-removed", "publish:before-record"]
DEATHS += [f"publish:between-renames:{n}" for n in (1, 2, 3)]


def publish(
    folder: Path, files: dict[str, str], key: Any, *, overwrite: bool = False, record: str = RECORD
) -> Publication:
    """What SCRIPT does, in this process."""
    with Publication(folder, record, key, overwrite=overwrite, names=list(files)) as publication:
        if not publication.up_to_date:
            for name, text in files.items():
                publication.stage(name).write_text(text)
            publication.commit(lambda entries: {"type": "Feature", "files": sorted(entries)})
    return publication


def publish_and_die(folder: Path, files: dict[str, str], key: Any, *, overwrite: bool, at: str) -> None:
    argument = json.dumps([str(folder), files, key, overwrite])
    environment = os.environ | {"GEOSEG_FAILPOINT": at}
    done = subprocess.run([sys.executable, "-c", SCRIPT, argument], env=environment, check=False)
    assert done.returncode == (-9 if sys.platform != "win32" else 15)


def visible(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith(".") and p.name != RECORD}


def assert_honest(folder: Path, *generations: dict[str, str]) -> None:
    """Each file is one generation's, whole; a record means that exactly one generation stands."""
    seen = visible(folder)
    for name, text in seen.items():
        assert text in [files.get(name) for files in generations]
    if (folder / RECORD).exists():
        assert verify_record(folder / RECORD) == []
        assert set(recorded(read_record(folder / RECORD))[1]) == set(seen)
        assert seen in generations


@pytest.mark.parametrize("at", DEATHS)
@pytest.mark.parametrize("replaces", [False, True], ids=["fresh", "replaces"])
def test_death_at_any_point_never_leaves_a_lie_and_the_next_run_succeeds(tmp_path, at, replaces) -> None:
    """Mutations that turn it red: the old record kept until the end; the new one written before the renames."""
    if replaces:
        publish(tmp_path, OLD, {"mmu": 1})
    publish_and_die(tmp_path, NEW, {"mmu": 2}, overwrite=replaces, at=at)
    assert_honest(tmp_path, OLD, NEW)
    if at == "publish:staged":
        assert visible(tmp_path) == (OLD if replaces else {})
    # What the dead run left is known as ours: only an intact old output asks for --overwrite again.
    publish(tmp_path, NEW, {"mmu": 2}, overwrite=(tmp_path / RECORD).exists())
    assert_honest(tmp_path, NEW)
    assert visible(tmp_path) == NEW
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("at", ["publish:recorded", "unlock"])
def test_death_after_the_record_leaves_nothing_for_long(tmp_path, at) -> None:
    """Mutation: `_tidy` that does not look for a lock left the one of who died while giving it back."""
    publish_and_die(tmp_path, NEW, {"mmu": 2}, overwrite=False, at=at)
    assert_honest(tmp_path, NEW)
    assert [path.name for path in tmp_path.glob(".*")] != []
    assert publish(tmp_path, NEW, {"mmu": 2}).up_to_date
    assert [path.name for path in tmp_path.glob(".*")] == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["a.tif", "b.gpkg", "c.shp"]), st.text("xyz", max_size=9), min_size=1),
            st.sampled_from([None, *DEATHS]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_history_of_deaths_stays_honest(tmp_path_factory, runs) -> None:
    folder = tmp_path_factory.mktemp("history")
    past: list[dict[str, str]] = []
    for number, (files, at) in enumerate(runs):
        past.append(files)
        too_late = at is not None and at[-1].isdigit() and int(at[-1]) > len(files)
        if at is None or too_late:
            publish(folder, files, {"run": number}, overwrite=True)
            assert visible(folder) == files
        else:
            publish_and_die(folder, files, {"run": number}, overwrite=True, at=at)
        assert_honest(folder, *past)


def test_up_to_date_touches_nothing(tmp_path) -> None:
    assert not publish(tmp_path, OLD, {"a": (1, 2), "b": {"c": 0.1}}).up_to_date
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()}
    assert publish(tmp_path, OLD, {"b": {"c": 0.1}, "a": [1, 2]}).up_to_date
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()} == before
    # A lost or shortened file makes the output incomplete again.
    (tmp_path / "scene.tif").write_text("cut")
    with pytest.raises(OutputExistsError, match="without a record"):
        publish(tmp_path, OLD, {"a": [1, 2], "b": {"c": 0.1}})


def test_debris_of_a_run_that_died_after_its_record_is_tidied(tmp_path) -> None:
    publish(tmp_path, OLD, {})
    Publication(tmp_path, RECORD, {}, names=[]).work.mkdir()
    (tmp_path / ".scene.geoseg.unfinished").write_text("scene.tif")
    assert publish(tmp_path, OLD, {}).up_to_date
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_other_settings_are_named_and_need_overwrite(tmp_path) -> None:
    publish(tmp_path, OLD, {"model": {"sha256": "aa", "name": "m"}, "tile": 1})
    with pytest.raises(OutputExistsError) as caught:
        publish(tmp_path, NEW, {"model": {"sha256": "bb", "name": "m"}, "tile": 1})
    assert 'model.sha256: "aa" → "bb"' in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert visible(tmp_path) == OLD
    publish(tmp_path, NEW, {"model": {"sha256": "bb", "name": "m"}, "tile": 1}, overwrite=True)
    assert visible(tmp_path) == NEW  # scene.shp belonged to the old record and is gone


def test_an_update_replaces_what_is_equal_in_the_part_that_counts(tmp_path) -> None:
    """And nothing else: what differs there is named, files of others stay, the old stands until the new is there."""

    def update(files: dict[str, str], key: dict[str, object], *, fail: bool = False) -> bool:
        part = {"update_by": lambda whole: {"model": whole.get("model")}}
        with Publication(tmp_path, RECORD, key, names=list(files), **part) as publication:
            if publication.up_to_date:
                return False
            for name, text in files.items():
                publication.stage(name).write_text(text)
            if fail:
                raise KeyError
            publication.commit(lambda _: {"type": "Feature"})
        return True

    assert update(OLD, {"model": 1, "input": "a"})
    assert not update(OLD, {"model": 1, "input": "a"})
    with pytest.raises(OutputExistsError, match=r"other settings \(model: 1 → 2\); pass --overwrite"):
        update(NEW, {"model": 2, "input": "b"})
    with pytest.raises(KeyError):
        update(NEW, {"model": 1, "input": "b"}, fail=True)
    assert visible(tmp_path) == OLD
    (tmp_path / "scene.png").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"scene\.png exists without a record"):
        update(NEW, {"model": 1, "input": "b"})
    (tmp_path / "scene.png").unlink()
    assert update(NEW, {"model": 1, "input": "b"})
    assert visible(tmp_path) == NEW
    assert verify_record(tmp_path / RECORD) == []


def test_files_of_others_need_overwrite(tmp_path) -> None:
    (tmp_path / "scene.tif").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    with pytest.raises(OutputExistsError, match=r"scene\.tif exists without a record"):
        publish(tmp_path, NEW, {})
    (tmp_path / "scene.tif").unlink()
    (tmp_path / RECORD).write_text('{"type": "Feature"}')
    with pytest.raises(OutputExistsError, match=r"scene\.json exists without a record"):
        publish(tmp_path, NEW, {})
    publish(tmp_path, NEW, {}, overwrite=True)
    assert visible(tmp_path) == NEW | {"notes.txt": "mine too"}


def test_a_failed_run_leaves_the_old_output(tmp_path) -> None:
    publish(tmp_path, OLD, {"v": 1})
    before = (tmp_path / RECORD).read_bytes()

    def fail() -> None:
        with Publication(tmp_path, RECORD, {"v": 2}, overwrite=True, names=list(NEW)) as publication:
            publication.stage("scene.tif").write_text("half")
            (publication.work / "tiles.raw").write_text("scratch")
            raise KeyError("bug")

    with pytest.raises(KeyError):
        fail()
    assert visible(tmp_path) == OLD
    assert (tmp_path / RECORD).read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_staged_files_must_be_those_announced(tmp_path) -> None:
    with Publication(tmp_path, RECORD, {}, names=["a", "b"]) as publication:
        with pytest.raises(ValueError, match="not among the announced"):
            publication.stage("c")
        publication.stage("a").write_text("")
        with pytest.raises(ValueError, match="are not the announced outputs"):
            publication.commit(lambda _: {})
    for names in (["a", "a"], [RECORD], ["../a"], [""], ["x/y"]):
        with pytest.raises(ValueError, match=r"repeat|plain file name"):
            Publication(tmp_path, RECORD, {}, names=names)


def test_files_finished_early_are_measured_like_the_others(tmp_path) -> None:
    with Publication(tmp_path, RECORD, {}, names=["a", "b"]) as publication:
        for name in ("a", "b"):
            publication.stage(name).write_text(name)
        publication.finished("a")
        publication.commit(lambda entries: {"files": sorted(entries)})
    _, files = recorded(read_record(tmp_path / RECORD))
    assert files == {name: FileEntry.of(tmp_path / name) for name in ("a", "b")}
    assert verify_record(tmp_path / RECORD) == []


def test_a_finished_file_is_not_written_to_again(tmp_path) -> None:
    """Its checksum would be of other bytes."""
    with Publication(tmp_path, RECORD, {}, names=["a"]) as publication:
        publication.stage("a").write_text("early")
        publication.finished("a")
        publication.stage("a").write_text("later")
        os.utime(publication.stage("a"), ns=(1, 1))  # clocks may be coarse
        with pytest.raises(ValueError, match="was written to after it was finished"):
            publication.commit(lambda _: {})


def test_stale_sidecars_go_and_announced_ones_stay(tmp_path) -> None:
    """Old overviews, masks and SQLite journals beside a new file would be believed (F4, F5)."""
    stale = ["c.tif.ovr", "c.tif.msk", "c.tfw", "c.wld", "p.gpkg-journal", "p.gpkg-wal", "p.gpkg-shm"]
    stale += ["c.tif.aux.xml", "p.qml", "s.qix", "s.sbn", "s.cpg"]
    for name in (*stale, "c.txt", "c.qml"):
        (tmp_path / name).write_text("stale")
    new = dict.fromkeys(["c.tif", "c.qml", "p.gpkg", "s.shp", "s.cpg"], "new")
    publish(tmp_path, new, {}, overwrite=True)
    assert visible(tmp_path) == new | {"c.txt": "stale"}


def test_other_outputs_keep_their_sidecars_and_their_truth(tmp_path) -> None:
    """o.shp, then o.gpkg beside it: the second must not take the first one's files away."""
    publish(tmp_path, {"o.shp": "1", "o.cpg": "UTF-8", "o.qml": "style"}, {}, record="o.shp.json")
    publish(tmp_path, {"o.gpkg": "2"}, {}, record="o.gpkg.json")
    publish(tmp_path, {"o.fgb": "3", "o.qml": "style"}, {}, record="o.fgb.json")
    for record in ("o.shp.json", "o.gpkg.json", "o.fgb.json"):
        assert verify_record(tmp_path / record) == []
    with pytest.raises(OutputExistsError, match=r"o\.qml belongs to o\.fgb\.json"):
        publish(tmp_path, {"o.parquet": "4", "o.qml": "other style"}, {}, record="o.parquet.json")
    assert verify_record(tmp_path / "o.shp.json") == []
    publish(tmp_path, {"o.parquet": "4", "o.qml": "other style"}, {}, record="o.parquet.json", overwrite=True)
    assert not (tmp_path / "o.shp.json").exists()
    assert not (tmp_path / "o.fgb.json").exists()
    assert verify_record(tmp_path / "o.gpkg.json") == []


def test_key_and_files_may_stand_among_properties(tmp_path) -> None:
    def item(entries: dict[str, FileEntry]) -> dict[str, Any]:
        rows = [{"name": e.name, "size": e.size, "sha256": e.sha256} for e in entries.values()]
        return {"type": "Feature", "properties": {"geoseg:key": {"v": 1}, "geoseg:files": rows}}

    with Publication(tmp_path, RECORD, {"v": 1}, names=["a"]) as publication:
        publication.stage("a").write_text("abc")
        publication.commit(item)
    document = read_record(tmp_path / RECORD)
    assert set(document) == {"type", "properties", "geoseg:seal"}
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert recorded(document) == ({"v": 1}, {"a": FileEntry("a", 3, sha256)})
    assert Publication(tmp_path, RECORD, {"v": 1}, names=["a"]).__enter__().up_to_date


def test_verify_names_each_problem(tmp_path) -> None:
    publish(tmp_path, OLD, {})
    (tmp_path / "scene.tif").write_text("OLD RASTER")
    (tmp_path / "scene.gpkg").write_text("short")
    (tmp_path / "scene.shp").unlink()
    problems = verify_record(tmp_path / RECORD)
    assert [p.split()[0] for p in problems] == ["scene.tif", "scene.gpkg", "scene.shp"]
    assert "sha256" in problems[0]
    assert "has 5 bytes, the record says 12" in problems[1]
    assert "is missing" in problems[2]
    assert verify_record(tmp_path / RECORD, {"scene.shp", "scene.gpkg"}) == problems[1:]
    with pytest.raises(InputMissingError, match="did not finish"):
        verify_record(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(InputError, match="no commit record"):
        verify_record(tmp_path / "other.json")


def test_a_record_cannot_name_files_elsewhere(tmp_path) -> None:
    evil = {"geoseg:key": {}, "geoseg:files": [{"name": "../a", "size": 0, "sha256": ""}]}
    with pytest.raises(InputError, match="malformed"):
        recorded(evil)


def test_differences_of_keys_name_missing_parts() -> None:
    old, new = {"a": 1, "b": {"c": 1, "d": None}}, {"a": 1, "b": {"c": 2}, "e": 3}
    assert key_differences(old, new) == ["b.c: 1 → 2", "b.d: null → absent", "e: absent → 3"]


def test_of_two_runs_one_wins_and_the_other_is_told_who(tmp_path) -> None:
    script = """
import sys
from pathlib import Path
from geoseg.io.publish import Publication
with Publication(Path(sys.argv[1]), "scene.json", {}, names=["a"]) as publication:
    print("in", flush=True)
    input()
    publication.stage("a").write_text("from the child")
    publication.commit(lambda _: {})
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        with pytest.raises(OutputExistsError, match=f"locked by process {child.pid} "):
            publish(tmp_path, {"a": "from the parent"}, {})
        child.communicate(b"\n")
    assert child.returncode == 0
    assert publish(tmp_path, {"a": "from the parent"}, {}).up_to_date
    assert visible(tmp_path) == {"a": "from the child"}


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_old_output(tmp_path) -> None:
    publish(tmp_path, OLD, {"v": 1})
    script = SCRIPT.replace("import json, sys", "import json, sys, resource") + "\n"
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))\n"  # the record is longer than 60 bytes
    script = script.replace("        publication.commit", f"        {limit}        publication.commit")
    argument = json.dumps([str(tmp_path), NEW, {"v": 2}, True])
    done = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, text=True, check=False)
    assert OutputError.__name__ in done.stderr.splitlines()[-1]
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert visible(tmp_path) == OLD
    assert verify_record(tmp_path / RECORD) == []
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_what_cannot_be_created_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExistsError, match=r"output folder .*file.*choose another -o"):
        publish(tmp_path / "file" / "out", NEW, {})
    (tmp_path / "scene.tif").mkdir()
    with pytest.raises(OutputExistsError, match="is a folder"):
        publish(tmp_path, NEW, {}, overwrite=True)
