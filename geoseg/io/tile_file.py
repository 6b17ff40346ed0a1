"""Checkpoints: one file a tile. What is there and whole is done; the folder's listing is the only ledger.

    8 bytes    magic, the last of them the version of the format
    4          length of the header, little-endian
    header     JSON: key of the run, number, plan, core window, arrays (name, type, shape, stored bytes), chips, events
    payload    the arrays, each compressed by itself
    32         BLAKE2b of everything before

A file that is cut short, altered, of another format, run or place is none: its tile is computed again. GDAL formats
would not do: some of them give back wrong pixels for a flipped bit, and zeros for a file that was never finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io import posix
from geoseg.io.failpoint import failpoint

SUFFIX = ".tile"
_MAGIC = b"geosegT\x02"
_LENGTH = struct.Struct("<I")
_DIGEST_BYTES = 32
_NAME = re.compile(rf"(\d{{6,}}){re.escape(SUFFIX)}")


@dataclass(frozen=True)
class TileRecord:
    """What one tile file holds."""

    number: int
    """Of the tile in its plan."""
    cells_per_side: int
    """Of a tile in its plan: with the key it tells the whole plan."""
    core: Window
    """Pixels that the tile owns, on the output grid."""
    arrays: Mapping[str, NDArray[Any]]
    """Class indices, score layers, tallies and digests by name; of any shape."""
    chips: int
    """Chips that were sent through the network."""
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 0 or self.cells_per_side < 1 or self.chips < 0:
            raise ValueError(f"tile {self.number} of {self.cells_per_side} cells a side with {self.chips} chips.")


def encode(record: TileRecord, key: str) -> bytes:
    """A tile file's content.

    Args:
        record: what to keep.
        key: digest of everything that the pixels depend on.
    """
    packed = {name: _pack(array) for name, array in record.arrays.items()}
    header = {
        "key": key,
        "number": record.number,
        "cells_per_side": record.cells_per_side,
        "core": asdict(record.core),
        "arrays": [[name, a.dtype.str, list(a.shape), len(packed[name])] for name, a in record.arrays.items()],
        "chips": record.chips,
        "events": list(record.events),
    }
    text = json.dumps(header, allow_nan=False).encode()
    content = b"".join([_MAGIC, _LENGTH.pack(len(text)), text, *packed.values()])
    return content + _digest(content)


def decode(content: bytes, key: str) -> TileRecord | None:
    """Read a tile file; None unless it is whole, of this format and of this key."""
    body = memoryview(content)[:-_DIGEST_BYTES]
    if bytes(body[: len(_MAGIC)]) != _MAGIC or _digest(body) != content[-_DIGEST_BYTES:]:
        return None
    start = len(_MAGIC) + _LENGTH.size
    end = start + _LENGTH.unpack(body[len(_MAGIC) : start])[0]
    header = json.loads(bytes(body[start:end]))
    if header["key"] != key:
        return None
    arrays = {}
    for name, dtype, shape, length in header["arrays"]:
        arrays[name] = np.frombuffer(zlib.decompress(body[end : end + length]), dtype).reshape(shape)
        end += length
    return TileRecord(
        number=header["number"],
        cells_per_side=header["cells_per_side"],
        core=Window(**header["core"]),
        arrays=arrays,
        chips=header["chips"],
        events=tuple(header["events"]),
    )


class TileFolder:
    """The tile files of one run.

    Args:
        folder: where they are; need not exist yet.
        key: digest of everything that their pixels depend on.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def numbers(self) -> list[int]:
        """Numbers of the tiles that have a file, good or bad, ascending."""
        return sorted(int(found[1]) for path in tile_paths(self.folder) if (found := _NAME.fullmatch(path.name)))

    def read(self, number: int) -> TileRecord | None:
        """A tile's record; None when it has no good file."""
        try:
            content = self._path(number).read_bytes()
        except OSError:  # gone, or the disk cannot read it any more: either way the tile is computed again
            return None
        record = decode(content, self.key)
        return record if record is not None and record.number == number else None

    def write(self, record: TileRecord) -> None:
        """Keep a tile: its file survives the death of the process and, once the folder was synced, of the machine.

        Raises:
            OutputExistsError: the folder may not be written.
            OutputError: the disk is full or fails.
        """
        content, path = encode(record, self.key), self._path(record.number)
        draft = path.with_suffix(".part")
        with posix.disk_errors("tile file", path, len(content)):
            self.folder.mkdir(exist_ok=True)
            try:
                with draft.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                failpoint("tile:before-rename")
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        failpoint("tile")

    def sync(self) -> None:
        """Let the names of the files written so far survive the death of the machine."""
        with posix.disk_errors("tile folder", self.folder):
            posix.sync_folder(self.folder)

    def clear(self) -> None:
        """Forget all tiles."""
        for path in tile_paths(self.folder):
            path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}{SUFFIX}"


def tile_paths(folder: Path) -> list[Path]:
    """Finished tile files of a folder, if there is one."""
    return list(folder.glob(f"*{SUFFIX}"))


def _pack(array: NDArray[Any]) -> bytes:
    """Run lengths and Huffman codes: for maps smaller than plain level 1 and, for noise, several times as fast."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return deflate.compress(np.ascontiguousarray(array).data) + deflate.flush()


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
