"""`--dry-run`: what a run would do, how long it would take and how much it would need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.grid import Grid
from geoseg.io.early import MEMORY as EARLY_MEMORY
from geoseg.io.early import pays
from geoseg.model.device import resolve
from geoseg.polygons.density import Density
from geoseg.settings import RunSettings, ScheduleSettings
from geoseg.stories.prepare import Job, crs_name, grid_json, prepare
from geoseg.stories.probe import Probe, amount, probe
from geoseg.stories.raster_names import score_bands
from geoseg.stories.run_cost import Cost, allowed, cost, divided, load_of
from geoseg.stories.stats import asked_zones
from geoseg.stories.vector_cost import map_memory, object_disk
from geoseg.stories.vector_key import thing_codes
from geoseg.stories.watcher import Silent
from geoseg.tiling.schedule import full_crew, slots
from geoseg.tiling.tta import VIEWS

BUSY = Density(components=5e-3, arcs=8e-3, vertices=0.2, lasting_arcs=4e-4, lasting_vertices=1e-2)
"""A busy real map; smooth ones have a tenth of its components, noise six times as many."""
POLYGON_WORK = 700 * 2**20
"""Bytes: batches of polygons on their way into a file, bands of rows, the libraries for it; less for small rasters."""
PROBE_SLACK = 1.7
"""Bytes that a thread comes to in a long run, over those of a single chip."""
COG_S_PER_MPX = 1.3 / 67.1
POLYGONS_S_PER_MPX = (2.8 + 0.4 + 1.2) / 67.1
"""`tests/benchmarks/RESULTS.md`, `landcover` at 8192² on two cores: class raster; polygons, pages, rest."""


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """What a run would do and need; nothing was done."""

    job: Job
    tiles: int
    chips: int
    """Chips to be predicted, if all have valid pixels; those off the AOI are left out."""
    halo_factor: float
    """Network pixels that are predicted, per pixel of the network's grid."""
    views: int
    """Forward passes a chip, by test-time augmentation."""
    cost: Cost
    """Bytes: what is printed, and what the run keeps."""
    room: int
    """Bytes that the process may come to now."""
    disk: int
    """Bytes needed in the output folder while running."""
    device: str
    """Device and precision that `auto` came to."""
    schedule: ScheduleSettings
    probe: Probe | None
    """None: no valid pixel was met."""
    seconds: float | None
    """Estimate for the whole; None without a probe."""
    notes: tuple[str, ...]
    """What was reduced so that it fits."""
    warnings: tuple[str, ...]

    @property
    def threads(self) -> int:
        """Chips that are predicted at the same time."""
        return _slots(self.job, self.schedule)

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.cost.bound <= self.room

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        plan = self.job.plan
        return {
            "grid": grid_json(plan.grid),
            "network_grid": grid_json(plan.network_grid),
            "model": self.job.model.spec.name,
            "chip": plan.chip,
            "margin": plan.margin,
            "tiles": self.tiles,
            "tile_px": [plan[0].core.width, plan[0].core.height],
            "device": self.device,
            "threads": self.threads,
            "chips": self.chips,
            "halo_factor": self.halo_factor,
            "blend": plan.blend,
            "views": self.views,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "memory_bytes": self.cost.bound,
            "segment_memory_bytes": self.cost.segment,
            "vector_memory_bytes": self.cost.vectorize,
            "memory_parts_bytes": self.cost.to_json(),
            "memory_room_bytes": self.room,
            "fits": self.fits,
            "disk_bytes": self.disk,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """For people."""
        plan, spec = self.job.plan, self.job.model.spec
        out = [
            f"grid     {plan.grid.width} × {plan.grid.height} px, {crs_name(plan.grid)}, {plan.grid.gsd_m:.4g} m",
            f"model    {spec.name} {spec.version}, bands {', '.join(self.job.scene.names)}",
        ]
        if plan.resampled:
            size = f"{plan.network_grid.width} × {plan.network_grid.height} px"
            out.append(f"network  sees {size} of {plan.network_grid.gsd_m:.4g} m; scores come back to the grid above")
        return [
            *out,
            f"device   {self.device}",
            f"tiles    {self.tiles} of up to {plan[0].core.width} × {plan[0].core.height} px",
            f"chips    {self.chips} of {plan.chip} px, margin {plan.margin}, halo factor {self.halo_factor:.2f}"
            + (f", each predicted in {self.views} views" if self.views > 1 else ""),
            f"time     {self._time()}",
            *self._memory(),
            f"disk     {_size(self.disk)} while running",
            *(f"note: {note}" for note in self.notes),
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def _time(self) -> str:
        if self.probe is None or self.seconds is None:
            return "unknown: no valid pixel was met"
        where = "the workers each as fast as this machine" if self.schedule.distributed else "as fast as now"
        return f"about {_duration(self.seconds)} by {self.threads} at a time, {where} ({self.probe.chips} chips timed)"

    def _memory(self) -> list[str]:
        parts, grid = self.cost, self.job.plan.grid
        then = f"{_size(parts.segment - parts.base)} to segment"
        if parts.polygons:
            polygons = max(1, round(grid.width * grid.height * BUSY.components))
            then += f", about {_size(parts.polygons)} for {polygons:,} polygons (noise has six times as many)"
        out = [
            f"memory   at most {parts.bound / 1e9:.2f} GB of the {self.room / 1e9:.2f} GB that are allowed:",
            f"         {_size(parts.base)} libraries, caches and model, then {then}",
        ]
        if not self.fits:
            out.append("warning: memory may not suffice; --mmu and --max-vertices help with polygons.")
        return out


def plan(inputs: Sequence[str | Path], settings: RunSettings | None = None, *, polygons: bool = True) -> PlanReport:
    """Prepare a run, measure it by a few chips, write nothing.

    Args:
        inputs: as for `run`.
        settings: as for `run`.
        polygons: False for `segment`, which makes none.

    Raises:
        GeosegError: the run could not even start.
    """
    settings, told = settings or RunSettings(), _Notes()
    asked_zones(settings.vector)
    job = prepare(inputs, settings)
    resolved = resolve(settings.predict, job.model.spec)
    room, load = allowed(settings.schedule), load_of(job, resolved, settings)
    job = divided(job, load, settings, told)
    seen = probe(job, resolved, settings)
    if seen is not None and seen.thread_bytes is not None and load.forward:
        load = replace(load, forward=max(load.forward, int(PROBE_SLACK * seen.thread_bytes)))
    work, grid = amount(job), job.plan.grid
    time = None if seen is None else work.seconds(seen, job.plan, _slots(job, settings.schedule))
    parts = cost(load, job.plan, job.crew or full_crew(settings.schedule))
    layers = 1 + score_bands(settings.layers, len(job.scheme))
    return PlanReport(
        job=job,
        tiles=len(job.plan),
        chips=work.chips,
        halo_factor=job.plan.halo_factor,
        views=len(VIEWS[settings.predict.tta]),
        cost=replace(parts, polygons=_polygons_bytes(grid, settings) if polygons else 0),
        room=room,
        # Tiles, what they are assembled in, the rasters; and some polygons.
        disk=grid.width * grid.height * (3 * layers + 1) + (_object_disk(job, settings) if polygons else 0),
        device=f"{resolved.device}, {resolved.precision}",
        schedule=settings.schedule,
        probe=seen,
        seconds=None if time is None else time + _after(grid, layers, polygons=polygons),
        notes=tuple(told.notes),
        warnings=job.fit.warnings,
    )


class _Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


def _slots(job: Job, schedule: ScheduleSettings) -> int:
    return slots(schedule) if schedule.distributed or job.crew is None else job.crew.threads


def _object_disk(job: Job, settings: RunSettings) -> int:
    things = bool(thing_codes(job.scheme, settings.vector.things))
    return object_disk(job.plan.grid, settings.vector, things=things)


def _polygons_bytes(grid: Grid, settings: RunSettings) -> int:
    """What polygons take beside the base, for a map as `BUSY`."""
    pixels, vector = grid.width * grid.height, settings.vector
    work = min(POLYGON_WORK, POLYGON_WORK // 2 + 60 * pixels) + map_memory(grid, BUSY, vector)
    early = pays(grid, dissolve=vector.dissolve, max_memory=settings.schedule.max_memory)
    return work + (EARLY_MEMORY if early else 0)


def _after(grid: Grid, layers: int, *, polygons: bool) -> float:
    """Seconds for what comes after the last tile."""
    mpx = grid.width * grid.height / 1e6
    return mpx * (layers * COG_S_PER_MPX + polygons * POLYGONS_S_PER_MPX)


def _size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    """As exact as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
