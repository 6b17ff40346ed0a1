"""Other people's weights → a model file of geoseg."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.errors import ConfigError, GeosegWarning, UsageError
from geoseg.io import posix
from geoseg.model.file import cache_place, check_output, load_tensors, read_spec, save_model
from geoseg.model.import_dynamicworld import read_arrays, spec, tensors_from
from geoseg.model.published import PUBLISHED, weights_sha256
from geoseg.model.spec import ModelSpec

KINDS = tuple(PUBLISHED)


@dataclass(frozen=True)
class Imported:
    """A model file that is now there."""

    path: Path
    spec: ModelSpec
    published: bool
    """True when its weights are those that were published."""
    up_to_date: bool = False
    """True when the file was there before and nothing was done."""


def import_model(kind: str, source: Path, output: Path | None = None, *, overwrite: bool = False) -> Imported:
    """Convert weights and write a model file.

    Other weights than the published ones (fine-tuned ones of the same network) are taken with a warning, and the
    model's version says so; into the cache, where the published name finds them, they are not.

    Args:
        kind: whose weights; one of `KINDS`.
        source: dynamicworld: the SavedModel's folder, or an `.npz` of its arrays.
        output: the model file, `.safetensors`; None: the user's cache, where `-m KIND` finds it.
        overwrite: replace an existing file.

    Raises:
        UsageError: unknown kind.
        InputMissingError: nothing at the source.
        ConfigError: not weights of this network, or not the published ones for the cache.
        OutputExistsError: the output exists or cannot be created.
        OutputError: writing failed.
    """
    target = place(kind, output)
    if output is None and not overwrite and (there := already(kind, target)):
        return there
    check_output(target, overwrite=overwrite)
    return convert(kind, source, target, published_only=output is None)


def convert(kind: str, source: Path, target: Path, *, published_only: bool) -> Imported:
    """Read weights, compare them with the published ones, and write the model file over whatever is there.

    Raises:
        InputMissingError: nothing at the source.
        ConfigError: not weights of this network, or others than the published ones where only those will do.
        OutputError: writing failed.
    """
    weights, contract = tensors_from(read_arrays(source)), spec()
    digest, right = weights_sha256(weights), PUBLISHED[kind].weights_sha256
    if digest != right:
        told = f"{source} holds other weights than the published {kind} (sha256 {digest[:12]}…, not {right[:12]}…)"
        if published_only:
            raise ConfigError(f"{told}; only `geoseg models import {kind} FOLDER -o FILE` takes such.")
        warnings.warn(f"{told}; the model's version says so.", GeosegWarning, stacklevel=2)
        contract = replace(contract, version=f"{contract.version}-modified")
    save_model(target, weights, contract, half=False)
    return Imported(target, contract, published=digest == right)


def place(kind: str, output: Path | None) -> Path:
    """The model file to write: the one that was named, or the cache's, whose folder is made.

    Raises:
        UsageError: unknown kind, or no cache.
        OutputExistsError: the cache cannot be created.
    """
    if kind not in KINDS:
        raise UsageError(f"model {kind!r}: geoseg knows the published weights of {', '.join(KINDS)}.")
    if output is not None:
        return output
    target = cache_place(kind)
    with posix.disk_errors("cache", target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def already(kind: str, target: Path) -> Imported | None:
    """The published model at its place, if it is there whole and as this geoseg writes it."""
    if not target.is_file():
        return None
    try:
        contract, tensors = read_spec(target), load_tensors(target)
    except ConfigError:  # somebody's file, or a damaged one: not what was asked for
        return None
    if contract != spec() or weights_sha256(tensors) != PUBLISHED[kind].weights_sha256:
        return None
    return Imported(target, contract, published=True, up_to_date=True)
