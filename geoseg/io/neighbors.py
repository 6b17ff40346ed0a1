"""Neighboring scenes on one lattice become a mosaic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.io.mosaic import Mosaic, Part, edges_of, meeting
from geoseg.io.read import read_chip
from geoseg.io.sample import even_windows
from geoseg.io.scene import BandSource, Scene, Validity, few
from geoseg.moment import Moment
from geoseg.settings import Overlap

_PLACES, _SIDE = 8, 64
_WORDS = {
    "first": "where several have a usable pixel, it is that of the first one given",
    "latest": "where several have a usable pixel, it is that of the latest",
    "clearest": "where several have a usable pixel, it is that of the one of which the smallest part is masked",
}


def composed_of(
    scenes: Sequence[Scene], names: Sequence[str], grid: Grid, windows: Sequence[Window], overlap: Overlap
) -> Scene:
    """One scene of neighbors on one lattice.

    Bands that not all have are left out. Where scale or offset differ from scene to scene, windows of the mosaic hold
    reflectance.

    Args:
        scenes: each with its masks; without an area of interest.
        names: for people.
        grid: the mosaic's.
        windows: where each lies on it.
        overlap: which counts where several have a usable pixel, see `geoseg.settings.ReadSettings.overlap`.

    Raises:
        InputError: they have no band in common, only some have numbers of known meaning, or a date is unknown that
            the rule asks for.
    """
    order = _order(scenes, names, windows, overlap)
    scenes, names = [scenes[number] for number in order], [names[number] for number in order]
    windows = [windows[number] for number in order]
    scenes, left_out = _with_common_bands(scenes, names)
    _check_meaning(scenes, names)
    parts = tuple(
        # One CRS object, not thousands, travels to the workers.
        Part(replace(scene, grid=replace(scene.grid, crs=grid.crs)), window)
        for scene, window in zip(scenes, windows, strict=True)
    )
    radiometry = " and ".join(dict.fromkeys(scene.radiometry for scene in scenes))
    sensors = dict.fromkeys(scene.sensor for scene in scenes)
    return Scene(
        bands=_bands(scenes),
        grid=grid,
        radiometry=radiometry,
        valid_rule=scenes[0].valid_rule,
        sensor=scenes[0].sensor if len(sensors) == 1 else None,
        acquired=Moment.around([scene.acquired for scene in scenes]),
        notes=(f"mosaic of {len(parts)} scenes; {_WORDS[overlap]}", *left_out, *_notes(scenes, names)),
        mosaic=Mosaic(parts, overlap),
    )


def _order(scenes: Sequence[Scene], names: Sequence[str], windows: Sequence[Window], overlap: Overlap) -> list[int]:
    """Numbers of the scenes, those first that count where several have a usable pixel; ties as given."""
    numbers = list(range(len(scenes)))
    if overlap == "latest":
        undated = [name for scene, name in zip(scenes, names, strict=True) if scene.acquired is None]
        if undated:
            raise InputError(
                f"--overlap latest: nothing says when {few(undated)} was taken; give products with their metadata, set "
                f"TIFFTAG_DATETIME, or take --overlap first."
            )
        numbers.sort(key=lambda n: -_instant(scenes[n]))
    elif overlap == "clearest":
        edges = edges_of(windows)
        alone = [len(meeting(edges, window)) == 1 for window in windows]
        shares = [0.0 if lonely else masked_share(scene) for scene, lonely in zip(scenes, alone, strict=True)]
        numbers.sort(key=shares.__getitem__)
    return numbers


def _instant(scene: Scene) -> float:
    return -math.inf if scene.acquired is None else scene.acquired.last.timestamp()


def masked_share(scene: Scene) -> float:
    """Which part of a scene's pixels that hold data its masks cover, by an even lattice of 8 × 8 windows of 64 pixels.

    Only the first band is asked what holds data. A scene without masks is clear, one without data not at all.
    """
    if not scene.masks:
        return 0.0
    first = scene.select(scene.names[:1])
    held = hidden = 0
    for window in even_windows(scene.grid.window, places=_PLACES, side=_SIDE):
        chip = read_chip(first, window)
        masked = 0 if chip.masked is None else int(np.count_nonzero(chip.masked))
        held, hidden = held + int(chip.valid.sum()) + masked, hidden + masked
    return hidden / held if held else 1.0


def _with_common_bands(scenes: Sequence[Scene], names: Sequence[str]) -> tuple[list[Scene], tuple[str, ...]]:
    """The scenes with the bands that all have, and which others there were, for people."""
    common = [name for name in scenes[0].names if all(name in scene.names for scene in scenes)]
    if not common:
        raise InputError(
            f"{names[0]} has {', '.join(scenes[0].names)}, {names[1]} {', '.join(scenes[1].names)}, …: no band is in "
            f"all scenes of the mosaic; name them with --bands."
        )
    dropped = dict.fromkeys(name for scene in scenes for name in scene.names if name not in common)
    note = f"left out, for not all scenes of the mosaic have them: {', '.join(dropped)}"
    return [scene.select(common) for scene in scenes], (note,) * bool(dropped)


def _check_meaning(scenes: Sequence[Scene], names: Sequence[str]) -> None:
    """Numbers as stored beside reflectance would be two countries on one map."""
    plain = [name for scene, name in zip(scenes, names, strict=True) if scene.radiometry == "none"]
    scaled = [name for scene, name in zip(scenes, names, strict=True) if scene.radiometry != "none"]
    if plain and scaled and not _alike(scenes):
        raise InputError(
            f"nothing says what the numbers of {few(plain)} mean, while {few(scaled)} hold reflectance by scale and "
            f"offset; pass --scale and --offset for all, or tag the files."
        )


def _alike(scenes: Sequence[Scene]) -> bool:
    return len({(scene.scale, scene.offset) for scene in scenes}) == 1


def _bands(scenes: Sequence[Scene]) -> tuple[BandSource, ...]:
    """What windows of the mosaic hold: stored numbers where these mean the same everywhere, else reflectance."""
    alike = _alike(scenes)
    dtype = np.result_type(*(scene.dtype for scene in scenes)) if alike else np.dtype(np.float32)
    return tuple(
        # Of no file: opened by mistake, it fails.
        BandSource(
            band.name,
            path="",
            index=1,
            dtype=dtype.name,
            validity=Validity(),
            scale=band.scale if alike else 1.0,
            offset=band.offset if alike else 0.0,
        )
        for band in scenes[0].bands
    )


def _notes(scenes: Sequence[Scene], names: Sequence[str]) -> tuple[str, ...]:
    """Each note once, with the scenes that it is about."""
    about: dict[str, list[str]] = {}
    for scene, name in zip(scenes, names, strict=True):
        for note in scene.notes:
            about.setdefault(note, []).append(name)
    return tuple(f"{few(of)}: {note}" for note, of in about.items())
