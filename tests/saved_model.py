"""A SavedModel's variables, written as TensorFlow writes them, with the shapes of Dynamic World."""

import struct

import numpy as np

from geoseg.model.crc32c import masked_crc32c
from geoseg.model.dynamicworld import DynamicWorld
from geoseg.model.import_dynamicworld import UNITS
from geoseg.model.tensor_bundle import MAGIC


def random_arrays(seed=0):
    """Random variables with Dynamic World's names and shapes, in Keras' axis order."""
    rng = np.random.default_rng(seed)
    network = DynamicWorld().state_dict()
    made = {}
    for unit, (conv, norm) in (UNITS | {"head": ("14", None)}).items():
        deep = conv.startswith("d")
        number = conv[1:] if deep else conv
        layer = ("depthwise_conv2d" if deep else "conv2d") + (f"_{number}" if number else "")
        weight = network[f"{unit}.0.weight" if norm is not None else f"{unit}.weight"]
        kernel = rng.normal(0, 0.1, weight.shape).astype("float32")
        made[f"{layer}/{'depthwise_kernel' if deep else 'kernel'}"] = kernel.transpose(
            (2, 3, 0, 1) if deep else (2, 3, 1, 0)
        )
        made[f"{layer}/bias"] = rng.normal(0, 0.1, weight.shape[0]).astype("float32")
        if norm is not None:
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                where = "batch_normalization" + (f"_{norm}" if norm else "")
                made[f"{where}/{name}"] = rng.uniform(0.5, 1.5, weight.shape[0]).astype("float32")
    return made


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def fixed32(number, value):
    return varint(number << 3 | 5) + struct.pack("<I", value)


def block(rows):
    """Keys compressed against the one before, one restart point."""
    out, last = b"", b""
    for key, value in rows:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def trailed(block):
    """A block, the mark that it is not compressed, and the checksum of both."""
    return block + b"\0" + struct.pack("<I", masked_crc32c(block + b"\0"))


def bundle(folder, variables):
    """variables/ with the object graph that gives checkpoint keys their variables' names."""
    data, rows, nodes = b"", [], b""
    for number, (name, value) in enumerate(variables.items()):
        key = f"vs/{number}/.ATTRIBUTES/VARIABLE_VALUE"
        shape = b"".join(field(2, field(1, size)) for size in value.shape)
        crc = fixed32(6, masked_crc32c(value.astype("<f4").tobytes()))
        rows.append((key, field(1, 1) + field(2, shape) + field(4, len(data)) + field(5, value.nbytes) + crc))
        nodes += field(1, field(2, field(1, b"VARIABLE_VALUE") + field(2, name.encode()) + field(3, key.encode())))
        data += value.astype("<f4").tobytes()
    size = struct.pack("<I", len(nodes))
    lengths = struct.pack("<I", masked_crc32c(size))
    graph = varint(len(nodes)) + lengths + nodes
    crc = fixed32(6, masked_crc32c(size + lengths + nodes))
    rows.append(("_CHECKPOINTABLE_OBJECT_GRAPH", field(1, 7) + field(4, len(data)) + field(5, len(graph)) + crc))
    rows.append(("", field(1, 1)))
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data + graph)
    entries = block(sorted((key.encode(), value) for key, value in rows))
    index = block([(b"~", varint(0) + varint(len(entries)))])
    handles = varint(0) + varint(0) + varint(len(entries) + 5) + varint(len(index))
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    (folder / "variables" / "variables.index").write_bytes(trailed(entries) + trailed(index) + footer)
    return folder
