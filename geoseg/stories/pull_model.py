"""A published model from its public repository into the user's cache: the one story that uses the network."""

from __future__ import annotations

import tempfile
from pathlib import Path

from geoseg.errors import ConfigError, InputError, InputMissingError, PolicyError, TemporaryError
from geoseg.io.fetch import check_url, fetch
from geoseg.model.file import check_output
from geoseg.model.published import PUBLISHED
from geoseg.stories.import_model import Imported, already, check_digits, convert, place


def pull_model(
    kind: str,
    output: Path | None = None,
    *,
    base: str | None = None,
    overwrite: bool = False,
    sha256: str | None = None,
) -> Imported:
    """Download published weights, check that they are those, write a model file.

    Nothing is asked of the network when the model is there already. What was downloaded lies in the system's folder
    for temporary files and goes whatever happens.

    Args:
        kind: one of `KINDS` of `geoseg.stories.import_model`.
        output: the model file, `.safetensors`; None: the user's cache, where `-m KIND` finds it.
        base: address of a mirror's folder that holds the same files; None: the public repository.
        overwrite: replace an existing file.
        sha256: of the right file, 64 digits, where more is known than was published; see `import_model`.

    Raises:
        UsageError: unknown kind, or the address or `sha256` is none.
        InputMissingError, PolicyError, InputError, TemporaryError: as of `geoseg.io.fetch.fetch`; or nothing says
            which file is the right one.
        ConfigError: what came are not the published weights.
        OutputExistsError: another file is there, or none can be created.
        OutputError: writing failed.
    """
    target = place(kind, output)
    check_digits(kind, sha256)
    if there := already(kind, target, sha256):
        return there
    published = PUBLISHED[kind]
    if sha256 is None and published.checksum is None:
        raise PolicyError(
            f"nobody published a checksum of {kind}, so what comes could be anything; pass --sha256 with the 64 digits "
            f"that the page of {published.base}/{published.files[0]} shows, if you trust it."
        )
    check_output(target, overwrite=overwrite)
    address = (base or published.base).rstrip("/")
    check_url(address)
    with tempfile.TemporaryDirectory(prefix="geoseg-") as name:
        folder = Path(name)
        _download(kind, address, folder)
        try:
            source = folder if len(published.files) > 1 else folder / published.files[0]
            return convert(kind, source, target, published_only=True, sha256=sha256)
        except (ConfigError, PolicyError) as error:
            raise type(error)(str(error).replace(str(folder), address)) from error


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
            several = len(published.files) > 1
            by_hand = f"put {urls} into FOLDER/variables" if several else f"fetch {urls} as FILE"
            raise type(error)(
                f"{error} Or by hand, from another machine: {by_hand}, "
                f"then geoseg models import {kind} {'FOLDER' if several else 'FILE'}."
            ) from error
