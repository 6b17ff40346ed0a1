"""What the chips of a finished run read, as a Parquet table beside its rasters: `--update` starts from it.

One row a chip, in the order of the lattice:

    row, col   its cell's place on the lattice
    digest     of what it read, 16 bytes, see `geoseg.tiling.reads.digest`
    seams      of the sampled pairs of chips whose first it is: whether the second lies below (else to the right),
               digest of what both read, counts of `geoseg.tiling.seam.count_differences`

Chips that read nothing (off the area of interest) have no row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.errors import InputError
from geoseg.io import posix
from geoseg.tiling.reads import DIGEST_BYTES, SceneReads

_VERSION = {b"geoseg:tiles": b"1"}
_DIGEST = pa.binary(DIGEST_BYTES)
_SEAM = pa.struct([("below", pa.bool_()), ("digest", _DIGEST), ("counts", pa.list_(pa.int64()))])
_SCHEMA = pa.schema([("row", pa.int32()), ("col", pa.int32()), ("digest", _DIGEST), ("seams", pa.list_(_SEAM))])


def write_tiles(reads: SceneReads, path: Path) -> None:
    """Write the table; equal reads give equal bytes.

    Raises:
        OutputError: the disk is full or fails.
        OutputExistsError: the file cannot be created.
    """
    rows, cols = np.nonzero(reads.digests.any(axis=2))
    digests = pa.py_buffer(np.ascontiguousarray(reads.digests[rows, cols]).tobytes())
    seams: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for (row, col, below), (found, counts) in sorted(reads.seams.items(), key=lambda item: item[0]):
        told = {"below": below, "digest": found.tobytes(), "counts": counts.tolist()}
        seams.setdefault((row, col), []).append(told)
    columns = [
        pa.array(rows, pa.int32()),
        pa.array(cols, pa.int32()),
        pa.FixedSizeBinaryArray.from_buffers(_DIGEST, len(rows), [None, digests]),
        pa.array([seams.get(place, []) for place in zip(rows.tolist(), cols.tolist(), strict=True)], pa.list_(_SEAM)),
    ]
    table = pa.Table.from_arrays(columns, schema=_SCHEMA.with_metadata(_VERSION))
    with posix.disk_errors("table of tiles", path):
        pq.write_table(table, path, compression="zstd", use_dictionary=False)


def read_tiles(path: Path, shape: tuple[int, int]) -> SceneReads:
    """Read what `write_tiles` wrote.

    Args:
        path: of the table.
        shape: rows and columns of the lattice that it should describe.

    Raises:
        InputError: it is no such table, or that of another lattice.
    """
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} cannot be read ({' '.join(str(error).split())}).") from error
    version = {name: value for name, value in (table.schema.metadata or {}).items() if name in _VERSION}
    if version != _VERSION or table.schema != _SCHEMA:
        raise InputError(f"{path.name} is no table of tiles of this version.")
    rows, cols = (table[name].to_numpy() for name in ("row", "col"))
    if not _within(rows, shape[0]) or not _within(cols, shape[1]):
        raise InputError(f"{path.name} is a table of other tiles than {shape[0]} × {shape[1]} chips.")
    reads = SceneReads(shape)
    packed = b"".join(table["digest"].to_pylist())
    reads.digests[rows, cols] = np.frombuffer(packed, np.uint8).reshape(-1, DIGEST_BYTES)
    for row, col, seams in zip(rows.tolist(), cols.tolist(), table["seams"].to_pylist(), strict=True):
        for seam in seams:
            counts = np.array(seam["counts"], np.int64)
            reads.seams[row, col, seam["below"]] = np.frombuffer(seam["digest"], np.uint8), counts
    return reads


def _within(places: np.ndarray[Any, Any], count: int) -> bool:
    return bool(((places >= 0) & (places < count)).all())
