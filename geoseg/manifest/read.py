"""Whatever a user names → scenes of a batch: the form recognized, settings laid over one another, names given."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.batch_settings import parse_share
from geoseg.config import settings_of
from geoseg.errors import ConfigError, GeosegError, UsageError
from geoseg.ledger.scene import BatchScene
from geoseg.manifest.entry import Entry, Listing, Raw
from geoseg.manifest.listing_csv import read_csv
from geoseg.manifest.listing_files import is_product, read_folder, read_glob
from geoseg.manifest.listing_stac import read_stac
from geoseg.manifest.listing_yaml import read_yaml
from geoseg.manifest.names import from_pattern, stem_of, usable
from geoseg.products.stac_source import is_stac
from geoseg.settings import RunSettings

_YAML = {".yaml", ".yml"}


def read_scenes(
    sources: Sequence[str],
    *,
    base: Raw | None = None,
    finish: Callable[[RunSettings], RunSettings] = lambda settings: settings,
    min_clear: float | None = None,
    results: Path | None = None,
) -> tuple[BatchScene, ...]:
    """All scenes of some manifests, in order.

    Settings win over one another in this order: `finish`, an entry's own, its manifest's defaults, `base`.

    Args:
        sources: each a manifest (.yaml, .csv, .json of STAC), a glob, a folder of scenes, or a scene by itself.
        base: settings under those of all manifests.
        finish: applied to the settings of each scene.
        min_clear: over what manifests say.
        results: folder of the batch's results.

    Raises:
        InputMissingError: a manifest is missing, or nothing matches.
        ConfigError, UsageError: a manifest is malformed, or two scenes have one name.
    """
    found: list[BatchScene] = []
    for source in sources:
        listing = _listing(source, results)
        for entry in listing.entries:
            scene = _scene(entry, listing, base or {}, finish, len(found) + 1)
            found.append(scene if min_clear is None else replace(scene, min_clear=min_clear))
    _check_names(found)
    return tuple(found)


def _listing(source: str, results: Path | None) -> Listing:
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in _YAML:
        return read_yaml(path)
    if suffix == ".csv":
        return read_csv(path)
    if is_stac(source):
        return read_stac(source)
    if path.is_dir() and not is_product(path):
        return read_folder(path, results)
    if glob.has_magic(source) and not path.exists():
        return read_glob(source)
    return Listing(entries=[Entry(inputs=(source,), where=source)])


def _scene(
    entry: Entry, listing: Listing, base: Raw, finish: Callable[[RunSettings], RunSettings], number: int
) -> BatchScene:
    raw = _over(_over(base, listing.defaults), entry.settings)
    settings = finish(settings_of(raw, entry.where))
    if settings.read.together == "each":
        settings = replace(settings, read=replace(settings.read, together=None))
    if settings.output.name is not None:
        raise ConfigError(f"{entry.where}: output.name names one scene; say name: of a scene, or a pattern of all.")
    try:
        first = entry.inputs[0]
        fields = {"stem": stem_of(first), "parent": Path(first).absolute().parent.name, "n": number}
        name = entry.name or usable(from_pattern(listing.name, **fields))
        share = listing.min_clear if entry.min_clear is None else entry.min_clear
        return BatchScene(
            name=name,
            inputs=entry.inputs,
            settings=replace(settings, output=replace(settings.output, name=name)),
            folder=from_pattern(listing.folder, name=name, **fields),
            min_clear=0.0 if share is None else parse_share(share),
        )
    except GeosegError as error:
        raise ConfigError(f"{entry.where}: {error}") from error


def _over(below: Raw, above: Raw) -> dict[str, Any]:
    """Sections joined key by key."""
    joined = {section: dict(values) if isinstance(values, dict) else values for section, values in below.items()}
    for section, values in above.items():
        under = joined.get(section, {})
        joined[section] = {**under, **values} if isinstance(under, dict) and isinstance(values, dict) else values
    return joined


def _check_names(scenes: Sequence[BatchScene]) -> None:
    seen: dict[str, BatchScene] = {}
    for scene in scenes:
        twin = seen.setdefault(scene.name, scene)
        if twin is not scene:
            raise UsageError(
                f"two scenes are called {scene.name!r} ({twin.inputs[0]}, {scene.inputs[0]}): name them, or all "
                f'of them by a pattern, as name: "{{parent}}_{{stem}}".'
            )
