"""Tile files: what was written comes back, and nothing else ever does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from geoseg.errors import OutputError
from geoseg.grid import Window
from geoseg.io import tile_file
from geoseg.io.tile_file import TileFolder, TileRecord, decode, encode, tile_paths

KEY = "5eed" * 16
arrays = npst.arrays(
    st.sampled_from(["uint8", "uint16", "int64", "float32"]),
    npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6),
    elements=st.integers(0, 200),
)
records = st.builds(
    TileRecord,
    number=st.integers(0, 2_000_000),
    cells_per_side=st.integers(1, 9),
    core=st.builds(Window, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 99), st.integers(1, 99)),
    arrays=st.dictionaries(st.text(min_size=1, max_size=5), arrays, max_size=4),
    chips=st.integers(0, 99),
    events=st.lists(st.text(max_size=9), max_size=3).map(tuple),
)


def plain(record: TileRecord | None) -> object:
    """Comparable by value."""
    if record is None:
        return None
    pixels = {name: (a.dtype.str, a.shape, a.tolist()) for name, a in record.arrays.items()}
    return record.number, record.cells_per_side, record.core, pixels, record.chips, record.events


def example(number: int = 3) -> TileRecord:
    classes = np.arange(12, dtype="uint8").reshape(3, 4)
    return TileRecord(number, 2, Window(4, 3, 4, 3), {"classes": classes}, chips=1, events=("batch halved",))


@given(records)
def test_what_is_written_comes_back(record) -> None:
    assert plain(decode(encode(record, KEY), KEY)) == plain(record)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """The content cut, lengthened, with a bit flipped, or with a stretch of zeros or of itself."""
    kind = data.draw(st.sampled_from(["cut", "longer", "flip", "zeros", "moved"]))
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start + 1, len(content)))
    out = bytearray(content)
    if kind == "cut":
        return content[:start]
    if kind == "longer":
        return content + data.draw(st.binary(min_size=1, max_size=40))
    if kind == "flip":
        out[start] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "zeros":
        out[start:end] = bytes(end - start)
    else:
        out[start:end] = (content + content)[end : 2 * end - start]
    return bytes(out)


def assert_damage_is_seen(data: st.DataObject, record: TileRecord) -> None:
    content = encode(record, KEY)
    bad = damaged(data, content)
    if bad != content:
        assert decode(bad, KEY) is None


@given(st.data(), records)
def test_a_damaged_file_is_none(data, record) -> None:
    assert_damage_is_seen(data, record)


def test_without_the_checksum_the_law_falls(monkeypatch) -> None:
    """Mutation: a digest that is always the same."""
    monkeypatch.setattr(tile_file, "_digest", lambda _: bytes(32))
    content = encode(example(), KEY)
    (at,) = (i for i in range(len(content)) if content[i : i + 12] == b'"chips": 1, ')
    flipped = content[: at + 9] + b"3" + content[at + 10 :]
    with pytest.raises(AssertionError):
        assert decode(flipped, KEY) is None


def test_files_of_others_are_none() -> None:
    content = encode(example(), KEY)
    assert decode(content, "beef" * 16) is None
    older = content[:7] + b"\x00" + content[8:-32]
    assert decode(older + tile_file._digest(older), KEY) is None
    assert decode(b"", KEY) is None
    assert decode(bytes(len(content)), KEY) is None


def test_a_folder_lists_its_tiles(tmp_path) -> None:
    folder = TileFolder(tmp_path / "tiles", KEY)
    assert folder.numbers() == []
    for number in (12, 3, 1_234_567):
        folder.write(example(number))
    (tmp_path / "tiles" / "000004.part").write_bytes(b"of a dead run")
    (tmp_path / "tiles" / "x.tile").write_bytes(b"somebody's")
    folder.sync()
    assert folder.numbers() == [3, 12, 1_234_567]
    assert [plain(folder.read(n)) for n in folder.numbers()] == [plain(example(n)) for n in folder.numbers()]
    assert folder.read(4) is None
    # Under another's number a good file is none.
    (tmp_path / "tiles" / "000003.tile").rename(tmp_path / "tiles" / "000005.tile")
    assert folder.read(5) is None


def test_a_full_disk_leaves_no_draft(tmp_path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tile_file.os, "fsync", full)
    with pytest.raises(OutputError, match=r"000003\.tile: No space left on device; it needs \d+ bytes"):
        TileFolder(tmp_path / "tiles", KEY).write(example())
    assert list((tmp_path / "tiles").iterdir()) == []
    assert tile_paths(tmp_path / "nowhere") == []


@pytest.mark.parametrize("wrong", [{"number": -1}, {"cells_per_side": 0}, {"chips": -1}])
def test_impossible_records_are_refused(wrong) -> None:
    fields = {"number": 0, "cells_per_side": 1, "core": Window(0, 0, 1, 1), "arrays": {}, "chips": 0}
    with pytest.raises(ValueError, match="tile"):
        TileRecord(**fields | wrong)
