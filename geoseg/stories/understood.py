"""What was understood of a job before its work begins, for those who ask with `-v`."""

from __future__ import annotations

from geoseg.io.scene import path_name
from geoseg.log import tell
from geoseg.stories.prepare import Job, crs_name


def tell_understood(job: Job) -> None:
    """Tell where each band comes from, and how the work is divided."""
    scene, plan = job.scene, job.plan
    for band in scene.bands:
        place = f"{path_name(band.path)}:{band.index}"
        tell("band", f"band {band.name} is {place}, {band.dtype}, {band.validity.describe()}", band=band.name, at=place)
    grid = scene.grid
    size = f"{grid.width} × {grid.height} pixels of {grid.gsd_m:.4g} m, {crs_name(grid)}"
    tell("grid", f"scene {job.name}: {size}", width=grid.width, height=grid.height, gsd_m=grid.gsd_m)
    chips = f"chips of {plan.chip} pixels, margin {plan.margin}"
    tell("plan", f"{len(plan)} tiles, {chips}", tiles=len(plan), chip=plan.chip, margin=plan.margin)
