"""The table of what chips read: written, read back, refused when it is not what it should be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError, OutputExistsError
from geoseg.io.tiles_table import read_tiles, write_tiles
from geoseg.tiling.reads import SceneReads


def example(rows: int = 5, cols: int = 7, seed: int = 0) -> SceneReads:
    """Some chips read nothing; a cell is the first of two pairs."""
    draw = np.random.default_rng(seed)
    reads = SceneReads((rows, cols))
    reads.digests[:] = draw.integers(0, 256, reads.digests.shape)
    reads.digests[draw.random((rows, cols)) < 0.3] = 0
    reads.digests[0, 0] = 1
    for below in (True, False):
        reads.seams[0, 0, below] = (draw.integers(1, 256, 16).astype(np.uint8), draw.integers(0, 2**40, 4))
    return reads


def plain(reads: SceneReads) -> object:
    seams = {key: (found.tolist(), counts.tolist()) for key, (found, counts) in reads.seams.items()}
    return reads.digests.tolist(), seams


@given(rows=st.integers(1, 30), cols=st.integers(1, 30), seed=st.integers(0, 99))
def test_it_comes_back(tmp_path_factory, rows, cols, seed) -> None:
    path = tmp_path_factory.mktemp("table") / "a.tiles.parquet"
    reads = example(rows, cols, seed)
    write_tiles(reads, path)
    assert plain(read_tiles(path, (rows, cols))) == plain(reads)
    assert pq.read_metadata(path).num_rows == reads.digests.any(axis=2).sum()


def test_equal_reads_give_equal_bytes_in_whatever_order_they_came(tmp_path) -> None:
    reads = example()
    other = SceneReads((5, 7))
    other.digests[:] = reads.digests
    other.seams = dict(reversed(reads.seams.items()))
    write_tiles(reads, tmp_path / "a.parquet")
    write_tiles(other, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_nothing_read_is_a_table_without_rows(tmp_path) -> None:
    write_tiles(SceneReads((2, 3)), tmp_path / "a.parquet")
    assert plain(read_tiles(tmp_path / "a.parquet", (2, 3))) == plain(SceneReads((2, 3)))


@pytest.mark.parametrize("shape", [(4, 7), (5, 6)])
def test_the_table_of_a_larger_lattice_is_refused(tmp_path, shape) -> None:
    reads = example()
    reads.digests[4, 6] = 9
    write_tiles(reads, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet is a table of other tiles than {shape[0]} × {shape[1]} chips"):
        read_tiles(tmp_path / "a.parquet", shape)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut", "cannot be read"),
        ("text", "cannot be read"),
        ("gone", "cannot be read"),
        ("other columns", "is no table of tiles of this version"),
        ("other version", "is no table of tiles of this version"),
        ("negative", "is a table of other tiles"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, how, said) -> None:
    path = tmp_path / "a.parquet"
    write_tiles(example(), path)
    table = pq.read_table(path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "text":
        path.write_text("row,col\n")
    elif how == "gone":
        path.unlink()
    elif how == "other columns":
        pq.write_table(table.drop_columns(["seams"]), path)
    elif how == "other version":
        pq.write_table(table.replace_schema_metadata({"geoseg:tiles": "2"}), path)
    else:
        pq.write_table(table.set_column(0, "row", pa.array([-1] * len(table), pa.int32())), path)
    with pytest.raises(InputError, match=said):
        read_tiles(path, (5, 7))


def test_what_cannot_be_written_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExistsError, match="table of tiles"):
        write_tiles(example(), tmp_path / "file" / "a.parquet")
