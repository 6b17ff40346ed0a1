"""A published model from its public repository into the user's cache: the one story that uses the network."""

from __future__ import annotations

import tempfile
from pathlib import Path

from geoseg.errors import ConfigError, InputError, InputMissingError, PolicyError, TemporaryError
from geoseg.io.fetch import check_url, fetch
from geoseg.model.file import check_output
from geoseg.model.published import PUBLISHED
from geoseg.stories.import_model import Imported, already, convert, place


def pull_model(kind: str, output: Path | None = None, *, base: str | None = None, overwrite: bool = False) -> Imported:
    """Download published weights, check that they are those, write a model file.

    Nothing is asked of the network when the model is there already. What was downloaded lies in the system's folder
    for temporary files and goes whatever happens.

    Args:
        kind: one of `KINDS` of `geoseg.stories.import_model`.
        output: the model file, `.safetensors`; None: the user's cache, where `-m KIND` finds it.
        base: address of a mirror's folder that holds the same files; None: the public repository.
        overwrite: replace an existing file.

    Raises:
        UsageError: unknown kind, or the address is none.
        InputMissingError, PolicyError, InputError, TemporaryError: as of `geoseg.io.fetch.fetch`.
        ConfigError: what came are not the published weights.
        OutputExistsError: another file is there, or none can be created.
        OutputError: writing failed.
    """
    target = place(kind, output)
    if there := already(kind, target):
        return there
    check_output(target, overwrite=overwrite)
    address = (base or PUBLISHED[kind].base).rstrip("/")
    check_url(address)
    with tempfile.TemporaryDirectory(prefix="geoseg-") as name:
        folder = Path(name)
        _download(kind, address, folder)
        try:
            return convert(kind, folder, target, published_only=True)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(folder), address)) from error


def _download(kind: str, address: str, folder: Path) -> None:
    """Every file that the model needs.

    Raises:
        GeosegError: as of `fetch`, with the way to do it by hand.
    """
    published = PUBLISHED[kind]
    for file in published.files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(f"{address}/{file}", path, max_bytes=published.max_bytes)
        except (TemporaryError, PolicyError, InputMissingError, InputError) as error:
            urls = " and ".join(f"{published.base}/{other}" for other in published.files)
            raise type(error)(
                f"{error} Or by hand, from another machine: put {urls} into FOLDER/variables, "
                f"then geoseg models import {kind} FOLDER."
            ) from error
