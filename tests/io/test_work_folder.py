"""What of a failed run stays for the next one, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_kit import names_in

from geoseg.errors import OutputExistsError
from geoseg.grid import Window
from geoseg.io.publish import Publication
from geoseg.io.record import verify_record
from geoseg.io.tile_file import TileRecord

KEY = {"segment": {"model": "aa", "chip": 256}, "vector": {"mmu": None}}
TILE = TileRecord(7, 1, Window(0, 0, 2, 2), {"classes": np.eye(2, dtype="uint8")}, chips=1)


def publication(folder: Path, key: Any = KEY, **more: Any) -> Publication:
    """Of a run that has tiles; `tiles_key=None` in `more`: of one that has none."""
    return Publication(folder, "scene.json", key, **{"names": ["scene.tif"], "tiles_key": key.get("segment")} | more)


def finish(found: Publication) -> None:
    with found:
        found.stage("scene.tif").write_text("pixels")
        found.commit(lambda _: {})


def fail(found: Publication) -> None:
    """A run that keeps a tile, leaves drafts, and fails."""

    def work() -> None:
        with found:
            found.tiles.write(TILE)
            found.stage("scene.tif").write_text("half")
            (found.work / "polygons").write_text("half")
            (found.work / "scratch").mkdir()
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        work()


def test_tiles_alone_outlive_a_failure_and_go_with_success(tmp_path) -> None:
    fail(publication(tmp_path))
    (work,) = tmp_path.iterdir()
    assert names_in(work) == {"key.json", "tiles"}
    with publication(tmp_path) as found:
        assert found.tiles.numbers() == [7]
        assert found.tiles.read(7).arrays["classes"].tolist() == [[1, 0], [0, 1]]
    assert names_in(work) == {"key.json", "tiles"}  # no commit, and still there
    finish(publication(tmp_path))
    assert names_in(tmp_path) == {"scene.tif", "scene.json"}


def test_without_a_tile_nothing_is_left(tmp_path) -> None:
    with publication(tmp_path):
        pass
    assert names_in(tmp_path) == set()
    fail(publication(tmp_path, tiles_key=None))
    assert names_in(tmp_path) == set()


def test_tiles_belong_to_their_part_of_the_key(tmp_path) -> None:
    fail(publication(tmp_path))
    with publication(tmp_path, KEY | {"vector": {"mmu": "9px"}}) as found:
        assert found.tiles.numbers() == [7]
    other = KEY | {"segment": {"model": "bb", "chip": 256}}
    before = names_in(tmp_path)
    for more in ({}, {"overwrite": True}, {"break_lock": True}):
        with pytest.raises(OutputExistsError, match=r'settings or inputs \(model: "aa" → "bb"\).*--restart'):
            publication(tmp_path, other, **more).__enter__()
    assert names_in(tmp_path) == before
    with publication(tmp_path, other, restart=True) as found:
        assert found.tiles.numbers() == []
        found.tiles.write(TILE)
    assert len(names_in(tmp_path)) == 1  # the new one's tile stays, though it was asked to discard old ones
    with publication(tmp_path, other) as found:
        assert found.tiles.numbers() == [7]


def test_a_key_that_cannot_be_read(tmp_path) -> None:
    """Of another run it is told; of our own the folder's name and the tiles themselves say what they are."""
    fail(publication(tmp_path))
    (work,) = tmp_path.iterdir()
    (work / "key.json").write_text("{")
    with pytest.raises(OutputExistsError, match="its key is unreadable"):
        publication(tmp_path, KEY | {"segment": {}}).__enter__()
    with publication(tmp_path) as found:
        assert found.tiles.numbers() == [7]
        assert '"chip": 256' in (work / "key.json").read_text()


def test_commands_without_tiles_clear_what_lies_there(tmp_path) -> None:
    fail(publication(tmp_path))
    finish(publication(tmp_path, {"other": 1}, tiles_key=None))
    assert names_in(tmp_path) == {"scene.tif", "scene.json"}


def test_whose_lock_was_broken_publishes_nothing_and_leaves_the_work_to_the_other(tmp_path) -> None:
    slow = publication(tmp_path).__enter__()
    slow.tiles.write(TILE)
    slow.stage("scene.tif").write_text("slow")
    with publication(tmp_path, break_lock=True) as quick:
        assert quick.tiles.numbers() == [7]
        slow.stage("scene.tif").write_text("slow")
        with pytest.raises(OutputExistsError, match=r"was broken by process \d+ .* nothing was published"):
            slow.commit(lambda _: {})
        slow.__exit__(None, None, None)
        quick.stage("scene.tif").write_text("quick")
        quick.commit(lambda _: {})
    assert (tmp_path / "scene.tif").read_text() == "quick"
    assert verify_record(tmp_path / "scene.json") == []
    assert names_in(tmp_path) == {"scene.tif", "scene.json"}
