"""Several dates of one place become one scene, whose band names say the date: `red@1`, `red@2`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.io.scene import Scene
from geoseg.moment import Moment


def dated(name: str, number: int) -> str:
    """A band's name in a scene of several dates; number: 1, 2, … in the order of the inputs."""
    return f"{name}@{number}"


def joined(scenes: Sequence[Scene]) -> Scene:
    """One scene of several that lie on one grid.

    A pixel is usable where it is so on all dates; masks of all count.

    Args:
        scenes: in the model's order of dates, which need not be that of time.
    """
    first = scenes[0]
    if any(not scene.grid.same_as(first.grid) for scene in scenes):
        raise ValueError("scenes of several dates must lie on one grid.")
    products = [scene.scene_id for scene in scenes]
    sensors = dict.fromkeys(scene.sensor for scene in scenes)
    return replace(
        first,
        bands=tuple(
            replace(band, name=dated(band.name, number))
            for number, scene in enumerate(scenes, start=1)
            for band in scene.bands
        ),
        radiometry=" and ".join(dict.fromkeys(scene.radiometry for scene in scenes)),
        masks=tuple(dict.fromkeys(mask for scene in scenes for mask in scene.masks)),
        mask_buffer_m=max(scene.mask_buffer_m for scene in scenes),
        scene_id="+".join(str(product) for product in products) if all(products) else None,
        sensor=first.sensor if len(sensors) == 1 else None,
        acquired=Moment.around([scene.acquired for scene in scenes]),
        notes=tuple(f"date {number}: {note}" for number, scene in enumerate(scenes, start=1) for note in _notes(scene)),
    )


def _notes(scene: Scene) -> tuple[str, ...]:
    taken = () if scene.acquired is None else (f"taken {scene.acquired.text}",)
    return (", ".join(scene.names), *taken, *scene.notes)
