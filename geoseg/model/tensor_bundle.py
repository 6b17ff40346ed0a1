"""Reads the variables of a TensorFlow SavedModel without TensorFlow.

A *tensor bundle* is an index and data files. The index is a sorted string table (LevelDB's format: blocks of
prefix-compressed keys, found through a footer of 48 bytes) from tensor names to small protocol buffers that say
type, shape, file, offset, size and checksum. Sources: tensorflow/core/util/tensor_bundle (BundleEntryProto),
tensorflow/core/protobuf/trackable_object_graph.proto, leveldb/doc/table_format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError, InputMissingError
from geoseg.model.crc32c import masked_crc32c
from geoseg.model.protobuf import fields, messages, varint

MAGIC = 0xDB4775248B80FB57
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_FOOTER, _TRAILER = 48, 5
_FLOAT, _STRING = 1, 7
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class _Entry:
    """Where a tensor is stored."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    """Masked CRC-32C of the bytes; of a text: of its length as uint32, the checksum of that, and its bytes."""


def read_variables(folder: Path) -> dict[str, NDArray[np.float32]]:
    """All float variables of a SavedModel by their full names (`conv2d/kernel`), in TensorFlow's axis order.

    Args:
        folder: the SavedModel (it holds `variables/`) or that folder itself.

    Raises:
        InputMissingError: no variables there.
        ConfigError: damaged (checksums are compared), compressed, or stored for another byte order.
    """
    inside = folder / "variables" if (folder / "variables").is_dir() else folder
    index = inside / "variables.index"
    if not index.is_file():
        raise InputMissingError(f"{folder} holds no variables/variables.index; give a SavedModel's folder.")
    try:
        entries = dict(_table(index.read_bytes()))
        header = dict(fields(entries.pop("", b"")))
        if header.get(2, 0) != 0:
            raise ConfigError(f"{index} is stored big-endian, which geoseg does not read.")
        shards = int(header.get(1, 1))
        found = {key: _entry(value) for key, value in entries.items()}
        names = _full_names(inside, found, shards)
        return {
            names.get(key, key.removesuffix(_SUFFIX)): _floats(inside, entry, shards)
            for key, entry in found.items()
            if entry.dtype == _FLOAT
        }
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{index} is damaged ({error}); download it again.") from error


def _table(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and values of a sorted string table."""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("no table footer")
    at = len(data) - _FOOTER
    for _ in range(2):  # the meta index's handle
        _, at = varint(data, at)
    offset, at = varint(data, at)
    size, at = varint(data, at)
    for _, handle in _block(data, offset, size):
        start, after = varint(handle, 0)
        length, _ = varint(handle, after)
        for key, value in _block(data, start, length):
            yield key.decode(), value


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of one block; each key is a piece of the one before and a new end."""
    if offset + size + _TRAILER > len(data):
        raise ValueError("a block lies beyond the end")
    if data[offset + size] != 0:
        raise ValueError("a block is compressed")
    if masked_crc32c(data[offset : offset + size + 1]) != struct.unpack_from("<I", data, offset + size + 1)[0]:
        raise ValueError("a block's checksum is wrong")
    block = data[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end = size - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _entry(message: bytes) -> _Entry:
    """BundleEntryProto: dtype 1, shape 2 (dim 2: size 1), shard_id 3, offset 4, size 5, crc32c 6 (fixed)."""
    known = dict(fields(message))
    numbers = {field: value for field, value in known.items() if isinstance(value, int)}
    crc = known.get(6, bytes(4))
    shape = next(messages(message, 2), b"")
    sizes = (dict(fields(dim)).get(1, 0) for dim in messages(shape, 2))
    return _Entry(
        dtype=numbers.get(1, 0),
        shape=tuple(int(size) for size in sizes),
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=struct.unpack("<I", crc)[0] if isinstance(crc, bytes) else crc,
    )


def _full_names(folder: Path, entries: dict[str, _Entry], shards: int) -> dict[str, str]:
    """Checkpoint key → full name of the variable, from the graph of Python objects that Keras and tf.Module store.

    TrackableObjectGraph: nodes 1; node: attributes 2; attribute: full_name 2, checkpoint_key 3.
    """
    entry = entries.get(OBJECT_GRAPH)
    if entry is None or entry.dtype != _STRING:
        return {}
    raw = _stored(folder, entry, shards)
    length, at = varint(raw, 0)
    _check(struct.pack("<I", length) + raw[at:], entry)
    graph = raw[at + 4 : at + 4 + length]
    names = {}
    for node in messages(graph, 1):
        for attribute in messages(node, 2):
            texts = {field: value for field, value in fields(attribute) if isinstance(value, bytes)}
            if texts.get(2) and texts.get(3):
                names[texts[3].decode()] = texts[2].decode()
    return names


def _floats(folder: Path, entry: _Entry, shards: int) -> NDArray[np.float32]:
    data = _stored(folder, entry, shards)
    _check(data, entry)
    return np.frombuffer(data, "<f4").reshape(entry.shape).astype(np.float32)


def _check(data: bytes, entry: _Entry) -> None:
    if masked_crc32c(data) != entry.crc:
        raise ValueError(f"wrong checksum at byte {entry.offset} of the data")


def _stored(folder: Path, entry: _Entry, shards: int) -> bytes:
    path = folder / f"variables.data-{entry.shard:05d}-of-{shards:05d}"
    if not path.is_file():
        raise InputMissingError(f"{path} is missing; a SavedModel needs all of its variables/ files.")
    with path.open("rb") as file:
        file.seek(entry.offset)
        data = file.read(entry.size)
    if len(data) != entry.size:
        raise ValueError(f"{path.name} ends early")
    return data
