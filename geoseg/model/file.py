"""The model file: one `.safetensors` with tensors and the spec in its header.

The header is read without torch, so that `geoseg info` stays fast; nothing in it can execute.
Format: https://github.com/huggingface/safetensors (8 bytes little-endian length, JSON, tensors).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import struct
import uuid
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import ConfigError, InputMissingError, OutputExistsError, PolicyError, UsageError
from geoseg.io import posix
from geoseg.io.cache import cache_folder
from geoseg.model.onnx_file import SPEC_KEY, read_onnx_spec
from geoseg.model.published import PUBLISHED
from geoseg.model.spec import ModelSpec
from geoseg.model.torchgeo_weights import PREFIX, TORCHGEO

if TYPE_CHECKING:
    import torch

ONNX_SUFFIX = ".onnx"
MAX_HEADER = 64 * 2**20


@dataclass(frozen=True)
class ModelRef:
    """A model that workers can load by themselves: where its file is and what it must contain."""

    path: Path
    sha256: str
    spec: ModelSpec


def bundled() -> dict[str, Path]:
    """Models inside the package: name → file, sorted by name."""
    folder = Path(str(resources.files("geoseg.model") / "bundled"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def cache_place(name: str) -> Path:
    """Where a pulled or imported model lies in the user's cache.

    Raises:
        UsageError: this user has no cache.
    """
    begin, colon, rest = name.rpartition(":")  # which no file may be called by on every system
    folder = cache_folder() / "models"
    return (folder / begin if colon else folder) / f"{rest}.safetensors"


def cached() -> dict[str, Path]:
    """Models in the user's cache: name → file, sorted by name."""
    try:
        folder = cache_place("any").parent
    except UsageError:  # no home folder, so nothing can have been kept there
        return {}
    plain = {path.stem: path for path in sorted(folder.glob("[!.]*.safetensors"))}
    torchgeo = cache_place(f"{PREFIX}any").parent
    return plain | {f"{PREFIX}{path.stem}": path for path in sorted(torchgeo.glob("[!.]*.safetensors"))}


def find_model(name_or_path: str) -> ModelRef:
    """The model of a name (bundled, or in the cache) or of a file. Never asks the network.

    Raises:
        InputMissingError: neither a known name nor a file, or a published model that was not pulled yet.
        ConfigError: the file is not a geoseg model file.
        PolicyError: the file is a pickle.
    """
    named = cached() | bundled()
    path = named.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        if name_or_path in PUBLISHED:
            source = "FILE" if name_or_path in TORCHGEO else "FOLDER"
            raise InputMissingError(
                f"model {name_or_path} is not on this machine yet: geoseg models pull {name_or_path} (needs the "
                f"network), or geoseg models import {name_or_path} {source}."
            )
        if name_or_path.startswith(PREFIX):
            near = difflib.get_close_matches(name_or_path, TORCHGEO, n=3, cutoff=0) or sorted(TORCHGEO)
            raise InputMissingError(
                f"model {name_or_path} is no segmentation network of TorchGeo that geoseg knows; those are "
                f"{', '.join(near[:3])}, … (geoseg models list)."
            )
        raise InputMissingError(
            f"model {name_or_path!r} is neither a file nor a bundled model ({', '.join(bundled()) or 'none'}) nor one "
            f"in the cache ({', '.join(cached()) or 'none'})."
        )
    if path.suffix in {".pt", ".pth", ".ckpt", ".pkl"}:
        raise PolicyError(
            f"model {path} is a pickle, which can execute code; geoseg runs .safetensors and .onnx files, and imports "
            f"checkpoints of TorchGeo: geoseg models import {path} --spec SPEC.yaml -o NEW.safetensors."
        )
    return ModelRef(path.resolve(), file_sha256(path), read_spec(path))


def read_spec(path: Path) -> ModelSpec:
    """The spec of a model file, from its header alone.

    Raises:
        ConfigError: no safetensors or ONNX file, or one without geoseg's spec, or truncated.
    """
    if path.suffix == ONNX_SUFFIX:
        return read_onnx_spec(path)
    spec, _ = _header(path)
    if spec is None:
        raise ConfigError(f"model {path} has no geoseg spec in its header; import it with its bands and classes.")
    return ModelSpec.from_json(spec)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor → shape, of a safetensors file, from its header alone.

    Raises:
        ConfigError: no safetensors file, or a damaged one.
    """
    return _header(path)[1]


def _header(path: Path) -> tuple[str | None, dict[str, tuple[int, ...]]]:
    """The spec in a safetensors file, if it has one, and the shapes of its tensors.

    Raises:
        ConfigError: no safetensors file, or a damaged one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ConfigError(f"model {path} is not a safetensors file, or it is truncated ({size} bytes).")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        spec = header.pop("__metadata__", {}).get(SPEC_KEY)
        announced = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"model {path} has a damaged safetensors header ({error}).") from error
    if announced != size:
        raise ConfigError(f"model {path} is {size} bytes long, its header announces {announced}; copy it again.")
    return spec, shapes


def check_output(path: Path, *, overwrite: bool, what: str = "model") -> None:
    """Refuse, before any work, a model file that may not be written.

    Raises:
        OutputExistsError: it exists, or its folder does not.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{what} {path} exists; pass --overwrite to replace it.")
    if not path.parent.is_dir():
        raise OutputExistsError(f"{what} {path} cannot be created: its folder does not exist; make it first.")


def as_stored(tensors: dict[str, torch.Tensor], *, half: bool = True) -> dict[str, torch.Tensor]:
    """Tensors with the precision that a model file keeps, floating-point ones in fp32 again."""
    stored = {name: _stored(name, tensor, half=half) for name, tensor in tensors.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


def _stored(name: str, tensor: torch.Tensor, *, half: bool) -> torch.Tensor:
    """A tensor as the file holds it.

    Batch-norm statistics stay fp32: they are few, and small variances underflow in fp16. So do tensors whose
    numbers fp16 cannot hold.
    """
    keep = not half or not tensor.is_floating_point() or "running_" in name
    keep = keep or not bool(tensor.half().isfinite().all())
    return (tensor if keep else tensor.half()).detach().cpu().contiguous()


def save_model(path: Path, tensors: dict[str, torch.Tensor], spec: ModelSpec, *, half: bool = True) -> None:
    """Write weights and spec, replacing the file at once; floating-point tensors as fp16 when `half`.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: the disk refuses.
    """
    from safetensors.torch import save

    stored = {name: _stored(name, tensor, half=half) for name, tensor in tensors.items()}
    publish_bytes(path, save(stored, metadata={SPEC_KEY: spec.to_json()}))


def publish_bytes(path: Path, data: bytes, what: str = "model") -> None:
    """Write a file whole, replacing what is there at once.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: the disk refuses.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")  # jobs of one cluster may share a cache
    # Written by ourselves: safetensors' `save_file` makes files that only their owner may read.
    try:
        with posix.disk_errors(what, path, len(data)):
            draft.write_bytes(data)
            posix.sync_file(draft)
            draft.replace(path)
            posix.sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model file, floating-point ones as fp32, on the CPU.

    Raises:
        ConfigError: what the header says of its tensors does not add up.
    """
    if path.suffix == ONNX_SUFFIX:
        raise ConfigError(f"model {path} is an ONNX file, which geoseg runs as it is: it has no tensors to build on.")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {k: v.float() if v.is_floating_point() else v for k, v in load_file(str(path)).items()}
    except SafetensorError as error:
        raise ConfigError(f"model {path} has damaged tensors ({error}).") from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes; cached by path, size and modification time."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (the cache's key)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
