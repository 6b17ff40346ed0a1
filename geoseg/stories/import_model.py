"""Other people's weights → a model file of geoseg."""

from __future__ import annotations

import difflib
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, GeosegWarning, InputMissingError, UsageError
from geoseg.io import posix
from geoseg.model.file import cache_place, check_output, file_sha256, load_tensors, read_spec, save_model
from geoseg.model.import_dynamicworld import read_arrays, spec, tensors_from
from geoseg.model.published import PUBLISHED, weights_sha256
from geoseg.model.spec import ModelSpec
from geoseg.model.torchgeo_weights import TORCHGEO

KINDS = tuple(PUBLISHED)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


@dataclass(frozen=True)
class Imported:
    """A model file that is now there."""

    path: Path
    spec: ModelSpec
    published: bool
    """True when its weights are those that were published."""
    up_to_date: bool = False
    """True when the file was there before and nothing was done."""


def contract(kind: str) -> ModelSpec:
    """What a published model expects and answers, without its weights."""
    return TORCHGEO[kind].spec() if kind in TORCHGEO else spec()


def import_model(
    kind: str, source: Path, output: Path | None = None, *, overwrite: bool = False, sha256: str | None = None
) -> Imported:
    """Convert weights and write a model file.

    Other weights than the published ones (fine-tuned ones of the same network) are taken with a warning, and the
    model's version says so; into the cache, where the published name finds them, they are not.

    Args:
        kind: whose weights; one of `KINDS`.
        source: dynamicworld: the SavedModel's folder, or an `.npz` of its arrays; torchgeo:…: the file as published.
        output: the model file, `.safetensors`; None: the user's cache, where `-m KIND` finds it.
        overwrite: replace an existing file.
        sha256: of the right file, 64 digits; None: as published, if anything was.

    Raises:
        UsageError: unknown kind, or no such digits.
        InputMissingError: nothing at the source.
        PolicyError: the file holds more than tensors.
        ConfigError: not weights of this network, or not the published ones for the cache.
        OutputExistsError: the output exists or cannot be created.
        OutputError: writing failed.
    """
    target = place(kind, output)
    check_digits(kind, sha256)
    if output is None and not overwrite and (there := already(kind, target, sha256)):
        return there
    check_output(target, overwrite=overwrite)
    return convert(kind, source, target, published_only=output is None, sha256=sha256)


def convert(kind: str, source: Path, target: Path, *, published_only: bool, sha256: str | None = None) -> Imported:
    """Read weights, compare them with the published ones, and write the model file over whatever is there.

    Raises:
        InputMissingError: nothing at the source.
        PolicyError: the file holds more than tensors.
        ConfigError: not weights of this network, or others than the published ones where only those will do.
        OutputError: writing failed.
    """
    if kind in TORCHGEO:
        origin = _origin(kind, source)
        told = _other_file(kind, source, origin["sha256"], sha256 or PUBLISHED[kind].file_sha256)
        _judge(kind, told, published_only=published_only)  # before torch opens the file
        weights = _torchgeo_state(kind, source)
        made = replace(contract(kind), training={"published": origin | {"weights_sha256": weights_sha256(weights)}})
    else:
        weights, made = tensors_from(read_arrays(source)), spec()
        told = _other_weights(kind, source, weights_sha256(weights))
        _judge(kind, told, published_only=published_only)
    if told is not None:
        made = replace(made, version=f"{made.version}-modified")
    save_model(target, weights, made, half=False)
    return Imported(target, made, published=told is None)


def _judge(kind: str, told: str | None, *, published_only: bool) -> None:
    """Refuse, or warn of, weights that are not known to be the published ones."""
    if told is None:
        return
    if published_only:
        raise ConfigError(f"{told}; only `geoseg models import {kind} SOURCE -o FILE` takes such.")
    warnings.warn(f"{told}; the model's version says so.", GeosegWarning, stacklevel=3)


def _other_weights(kind: str, source: Path, digest: str) -> str | None:
    right = str(PUBLISHED[kind].weights_sha256)
    if digest == right:
        return None
    return f"{source} holds other weights than the published {kind} (sha256 {digest[:12]}…, not {right[:12]}…)"


def _origin(kind: str, source: Path) -> dict[str, Any]:
    if not source.is_file():
        raise InputMissingError(f"{source} is no file; give {PUBLISHED[kind].files[0]} as it was published.")
    return {"url": TORCHGEO[kind].url, "sha256": file_sha256(source)}


def _other_file(kind: str, source: Path, digest: str, right: str | None) -> str | None:
    if right is None:
        return f"nobody published a checksum of {kind}, so {source} may be anything (sha256 {digest}); pass --sha256"
    if digest.startswith(right.lower()):
        return None
    return f"{source} is another file than the published {kind} (sha256 {digest[:12]}…, not {right[:12]}…)"


def _torchgeo_state(kind: str, source: Path) -> dict[str, Any]:
    from geoseg.model.import_torchgeo import read_state

    return read_state(source, contract(kind))


def place(kind: str, output: Path | None) -> Path:
    """The model file to write: the one that was named, or the cache's, whose folder is made.

    Raises:
        UsageError: unknown kind, or no cache.
        OutputExistsError: the cache cannot be created.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=3, cutoff=0.3) or KINDS[:2]
        raise UsageError(
            f"model {kind!r}: geoseg knows the published weights of {', '.join(near)}, …; geoseg models list."
        )
    if output is not None:
        return output
    target = cache_place(kind)
    with posix.disk_errors("cache", target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def check_digits(kind: str, sha256: str | None) -> None:
    """Refuse a `--sha256` that cannot be one, or that would not be compared.

    Raises:
        UsageError: not 64 hexadecimal digits, not those that were published, or the model's numbers are checked anyway.
    """
    if sha256 is None:
        return
    if not _SHA256.fullmatch(sha256):
        raise UsageError(f"--sha256 {sha256!r} is not 64 hexadecimal digits; sha256sum FILE shows them.")
    if kind not in TORCHGEO:
        raise UsageError(f"--sha256: geoseg knows the checksum of {kind}; leave it out.")
    known = PUBLISHED[kind].file_sha256 or ""
    if not sha256.lower().startswith(known):
        raise UsageError(f"--sha256 {sha256} does not begin with the published {known} of {kind}; leave it out.")


def already(kind: str, target: Path, sha256: str | None = None) -> Imported | None:
    """The published model at its place, if it is there whole and as this geoseg writes it."""
    if not target.is_file():
        return None
    try:
        found, tensors = read_spec(target), load_tensors(target)
    except ConfigError:  # somebody's file, or a damaged one: not what was asked for
        return None
    right = PUBLISHED[kind].weights_sha256
    if kind in TORCHGEO:
        origin = found.training.get("published", {})
        file = (sha256 or PUBLISHED[kind].file_sha256 or "").lower()
        right = origin.get("weights_sha256") if str(origin.get("sha256", "")).startswith(file) else None
    if replace(found, training={}) != contract(kind) or weights_sha256(tensors) != right:
        return None
    return Imported(target, found, published=True, up_to_date=True)
