"""Which files of a tree a preset takes for its bands, by their names alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

from geoseg.errors import InputError
from geoseg.products.preset import BandPreset, Preset, word_key
from geoseg.products.tree import Tree


@dataclass(frozen=True, kw_only=True)
class BandFile:
    """A file that a preset's pattern names."""

    file: str
    """Path within the tree."""
    band: str | None
    """The word for the band in its name; None: a file of several bands."""
    gsd_m: float | None
    """Pixel size in its name."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A scene as a preset finds it in a tree; nothing is opened yet."""

    sensor: str
    preset: Preset
    tree: Tree
    root: str
    """Folder of the product within the tree: empty, or with a `/` at its end."""
    alone: bool
    """True: the user named the files, what else lies beside them may belong to others."""
    files: tuple[BandFile, ...]
    scene: str | None = None
    time: str | None = None
    marker: str | None = None

    def beside(self, pattern: str) -> tuple[str, ...]:
        """Files of this scene, by a name with `*` and `{scene}`, in any case."""
        if self.alone and (self.scene is None or "{scene}" not in pattern):
            return ()
        # fnmatch reads [ as the start of a set of characters; scene names may hold one.
        scene = "*" if self.scene is None else self.scene.replace("[", "[[]")
        wanted = pattern.replace("{scene}", scene).lower()
        inside = (file for file in self.tree.files if file.startswith(self.root))
        return tuple(file for file in inside if fnmatch(PurePosixPath(file).name.lower(), wanted))


def claim(tree: Tree, sensor: str, preset: Preset, only: Collection[str] | None) -> Claim | None:
    """The preset's scene in a tree, or None when the names are others.

    Args:
        tree: all files.
        sensor: the preset's name.
        preset: the preset.
        only: the files that the user named themselves; None: all.

    Raises:
        InputError: several scenes, or a product without its band files.
    """
    if preset.files is None:
        return None
    root, marker = "", None
    if preset.marker is not None:
        markers = [file for file in tree.files if preset.marker.fullmatch(PurePosixPath(file).name)]
        if not markers or only is not None:
            return None
        _one_scene(tree, sensor, [str(PurePosixPath(file).parent) for file in markers])
        marker = markers[0]
        root = marker[: -len(PurePosixPath(marker).name)]
    inside = [file for file in tree.files if file.startswith(root) and (only is None or file in only)]
    hits = [(file, hit) for file in inside if (hit := preset.files.fullmatch(PurePosixPath(file).name))]
    if only is not None and len(hits) < len(only):
        return None  # the pattern would drop files that the user named
    if not hits:
        if marker is None:
            return None
        raise InputError(f"{tree.root} holds {marker}, but none of its band files; unpack or download it again.")
    groups = [hit.groupdict() for _, hit in hits]
    scenes = [group.get("scene") or "" for group in groups]
    places = ["" if marker else f"{PurePosixPath(file).parent}/" for file, _ in hits]
    _one_scene(tree, sensor, [f"{place}{scene}" for place, scene in zip(places, scenes, strict=True)])
    return Claim(
        sensor=sensor,
        preset=preset,
        tree=tree,
        root=root if marker else places[0].removeprefix("./"),
        alone=only is not None,
        files=tuple(
            BandFile(file=file, band=group.get("band"), gsd_m=float(gsd) if (gsd := group.get("gsd")) else None)
            for (file, _), group in zip(hits, groups, strict=True)
        ),
        scene=scenes[0] or None,
        time=groups[0].get("time"),
        marker=marker,
    )


def _one_scene(tree: Tree, sensor: str, found: Iterable[str]) -> None:
    scenes = sorted({name.removeprefix("./").rstrip("/") for name in found})
    if len(scenes) > 1:
        more = ", …" * (len(scenes) > 3)
        raise InputError(
            f"{tree.root} holds {len(scenes)} scenes of {sensor} ({', '.join(scenes[:3])}{more}); "
            f"give each in a folder of its own."
        )


def band_called(bands: Mapping[str, BandPreset], text: str) -> str | None:
    """Id of the band that a word in a file name or a band description means; None: no such band.

    A band's own id, name and aliases come before the aliases that all files may use (`geoseg.io.bands.ALIASES`).
    """
    from geoseg.io.bands import ALIASES  # brings rasterio

    words = {word_key(word): band for band, entry in bands.items() for word in (band, entry.name, *entry.aliases)}
    common = ALIASES.get(text.strip().lower(), "")
    return words.get(word_key(text)) or words.get(word_key(common))


def native_files(claimed: Claim, bands: Mapping[str, BandPreset]) -> dict[str, BandFile]:
    """Band id → its file: the one of native pixel size, else the finest (Sentinel-2 L2A repeats bands coarser).

    Raises:
        InputError: two files for one band.
    """
    ids = {word_key(band): band for band in bands}
    found: dict[str, list[BandFile]] = {}
    for file in claimed.files:
        band = ids.get(word_key(file.band or ""))
        if band is not None:
            found.setdefault(band, []).append(file)
    out = {}
    for band in (band for band in bands if band in found):
        native = bands[band].gsd_m or claimed.preset.gsd_m
        ranked = sorted(found[band], key=lambda file: (file.gsd_m != native, file.gsd_m or 0.0))
        if len(ranked) > 1 and ranked[0].gsd_m == ranked[1].gsd_m:
            raise InputError(
                f"{claimed.tree.root} holds two files for {band}: {ranked[0].file} and {ranked[1].file}; move one away."
            )
        out[band] = ranked[0]
    return out
