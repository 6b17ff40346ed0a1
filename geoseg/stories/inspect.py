"""Questions before work: what is this raster, does it fit a model, what would a run cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, InputError
from geoseg.grid import Grid
from geoseg.io.border import constant_border
from geoseg.io.compose import scene_of, survey
from geoseg.io.raster import RasterFile
from geoseg.io.scene import Scene
from geoseg.model.file import find_model
from geoseg.polygons.density import Density
from geoseg.settings import ReadSettings, RunSettings
from geoseg.stories.prepare import Job, fit_scene, grid_json, prepare, together
from geoseg.stories.raster_names import score_bands
from geoseg.stories.vector_cost import map_memory

ONE_STRIP = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class InfoReport:
    """What `info` found out."""

    files: tuple[RasterFile, ...]
    scene: Scene
    proposals: tuple[str, ...]
    """Flags that would probably help."""
    model: str | None = None
    misfit: str | None = None
    """Why the scene does not fit the model; None: it does, or no model was asked about."""
    warnings: tuple[str, ...] = ()
    values: tuple[dict[str, Any], ...] = ()
    """Per band: name, p1, p50, p99 of reflectance, share of implausible values."""

    @property
    def fits(self) -> bool | None:
        """Whether the model can be run; None without a model."""
        return None if self.model is None else self.misfit is None

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return {
            "files": [_file_json(file) for file in self.files],
            "grid": grid_json(self.scene.grid) | {"gsd_m": self.scene.grid.gsd_m},
            "bands": [
                {"name": b.name, "file": b.path, "index": b.index, "scale": b.scale, "offset": b.offset}
                | {"validity": b.validity.describe(), "resampled": b.warped}
                for b in self.scene.bands
            ],
            "sensor": self.scene.sensor,
            "scene_id": self.scene.scene_id,
            "datetime": None if self.scene.acquired is None else self.scene.acquired.text,
            "masks": [{"file": m.path, "rule": m.rule, "reasons": list(m.reasons)} for m in self.scene.masks],
            "radiometry": self.scene.radiometry,
            "notes": list(self.scene.remarks),
            "proposals": list(self.proposals),
            "model": self.model,
            "fits": self.fits,
            "misfit": self.misfit,
            "warnings": list(self.warnings),
            "values": list(self.values),
        }

    def lines(self) -> list[str]:
        """For people."""
        scene, grid = self.scene, self.scene.grid
        out = []
        for file in self.files:
            out.append(f"{file.path}")
            out.append(
                f"  {file.driver}, {file.grid.width} × {file.grid.height}, {file.count} bands of {file.dtypes[0]}"
            )
            out.append(f"  {_crs_name(file.grid)}, pixels of {file.grid.gsd_m:.4g} m")
            out.append(f"  stored in blocks of {file.block_shape[1]} × {file.block_shape[0]}")
        out.append(f"scene: {grid.width} × {grid.height} = {grid.width * grid.height / 1e6:.2f} Mpx")
        for band in scene.bands:
            what = f"reflectance = DN·{band.scale:g} {band.offset:+g}" if scene.radiometry != "none" else "as stored"
            place = f"{Path(band.path).name}:{band.index}"
            out.append(f"  {band.name:<10} {place}  {band.dtype}, {what}, {band.validity.describe()}")
        if scene.acquired is not None:
            out.append(f"  taken {scene.acquired.text}")
        out += [f"note: {note}" for note in scene.remarks]
        out += [f"hint: {proposal}" for proposal in self.proposals]
        for value in self.values:
            out.append(f"  {value['name']:<10} p1 {value['p1']:.4f}   p50 {value['p50']:.4f}   p99 {value['p99']:.4f}")
        out += [f"warning: {warning}" for warning in self.warnings]
        if self.model is not None:
            out.append(f"model {self.model}: {'fits' if self.fits else 'does not fit: ' + str(self.misfit)}")
        return out


def info(inputs: Sequence[str | Path], settings: ReadSettings | None = None, model: str | None = None) -> InfoReport:
    """Describe rasters and say whether they fit a model.

    Args:
        inputs: rasters of one scene.
        settings: how to read them.
        model: bundled name or model file; None: do not ask.

    Raises:
        GeosegError: the files cannot be used at all.
    """
    settings = settings or ReadSettings()
    paths = together(inputs, settings)
    found = survey(paths, settings)
    files, scene = found.files, scene_of(found, settings)
    proposals = tuple(_proposals(files, scene))
    if model is None:
        return InfoReport(files=files, scene=scene, proposals=proposals)
    ref = find_model(model)
    name = f"{ref.spec.name} {ref.spec.version}"
    try:
        fit = fit_scene(scene, ref)
    except (ConfigError, InputError) as error:
        return InfoReport(files=files, scene=scene, proposals=proposals, model=name, misfit=str(error))
    values = tuple(asdict(sample) for sample in fit.samples)
    return InfoReport(files=files, scene=scene, proposals=proposals, model=name, warnings=fit.warnings, values=values)


def _proposals(files: Sequence[RasterFile], scene: Scene) -> list[str]:
    found = []
    border = constant_border(scene) if scene.collar is None else None
    if border is not None:
        value, share = border
        flag = f"--collar {value:g}" if value in {0.0, 255.0} else f"--nodata {value:g}"
        found.append(f"{share:.0%} of the border is {value:g} in every band; if that is no image, pass {flag}")
    for file in files:
        rows, cols = file.block_shape
        if rows > 1 and cols == file.grid.width and rows * cols > ONE_STRIP:
            found.append(
                f"{Path(file.path).name} is stored in huge strips; gdal_translate -of COG makes reading faster"
            )
    return found


def _file_json(file: RasterFile) -> dict[str, Any]:
    grid = grid_json(file.grid) | {"gsd_m": file.grid.gsd_m}
    facts = {k: v for k, v in _fields(file).items() if k not in {"grid", "notes"}}
    return facts | {"grid": grid}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _crs_name(grid: Grid) -> str:
    authority = grid.crs.to_authority(min_confidence=100)
    return f"{grid.crs.name} ({':'.join(authority)})" if authority else f"{grid.crs.name} (no authority code)"


def _size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """What a run would do and need; nothing was done."""

    job: Job
    tiles: int
    chips: int
    halo_factor: float
    """Network pixels that are predicted, per pixel of the network's grid."""
    views: int
    """Forward passes a chip, by test-time augmentation."""
    segment_memory: int
    """Bytes: bound for reading, predicting and stitching; does not grow with the raster."""
    vector_memory: int
    """Bytes: estimate for making polygons, for a map as `BUSY`; noise has six times as many."""
    disk: int
    """Bytes needed in the output folder while running."""
    device: str
    """Device and precision that `auto` came to."""
    warnings: tuple[str, ...]

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
            "chips": self.chips,
            "halo_factor": self.halo_factor,
            "blend": plan.blend,
            "views": self.views,
            "segment_memory_bytes": self.segment_memory,
            "vector_memory_bytes": self.vector_memory,
            "disk_bytes": self.disk,
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """For people."""
        plan, spec = self.job.plan, self.job.model.spec
        out = [
            f"grid     {plan.grid.width} × {plan.grid.height} px, {_crs_name(plan.grid)}, {plan.grid.gsd_m:.4g} m",
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
            f"memory   {_size(self.segment_memory)} to segment, about {_size(self.vector_memory)} to vectorize",
            f"         {_parts(plan.grid)} polygons; noise has six times as many",
            f"disk     {_size(self.disk)} while running",
            *(f"warning: {warning}" for warning in self.warnings),
        ]


def plan(inputs: Sequence[str | Path], settings: RunSettings | None = None) -> PlanReport:
    """Prepare a run, measure it, do nothing.

    Raises:
        GeosegError: the run could not even start.
    """
    from geoseg.model.device import resolve
    from geoseg.model.footprint import activation_bytes
    from geoseg.stories.stats import asked_zones
    from geoseg.tiling.checkpoint import WAITING
    from geoseg.tiling.schedule import slots
    from geoseg.tiling.tta import VIEWS

    settings = settings or RunSettings()
    asked_zones(settings.vector)
    job = prepare(inputs, settings)
    resolved = resolve(settings.predict, job.model.spec)
    grid, tiles = job.plan.grid, job.plan
    at_once = slots(settings.schedule)
    layers = 1 + score_bands(settings.predict.layers, len(job.scheme))
    tile_px = max(tiles[0].core.size, 1)
    bands = len(job.scene.bands)
    chip_bytes = tiles.chip**2 * (bands * (job.scene.dtype.itemsize + 6) + 8 * len(job.model.spec.classes))
    forwards = at_once * (activation_bytes(job.model.spec, tiles.chip) + resolved.batch_size * chip_bytes)
    # Worker processes load libraries and model each; those of a cluster have their own machines.
    processes = 1 + (settings.schedule.workers or 0)
    results = (3 * at_once + 1 + WAITING) * tile_px * (layers + 9)
    if tiles.tapered:  # sums over the rows that a row of chips reaches, and a chip's part in them
        reached = (tiles[0].core.width + tiles.chip * tiles.cols.zoom) * tiles.chip * tiles.rows.zoom
        results += int(at_once * reached * 8 * len(job.model.spec.classes))
    return PlanReport(
        job=job,
        tiles=len(tiles),
        chips=tiles.chips,
        halo_factor=tiles.halo_factor,
        views=len(VIEWS[settings.predict.tta]),
        segment_memory=processes * (BASE_MEMORY + job.model.path.stat().st_size * 4) + forwards + results,
        device=f"{resolved.device}, {resolved.precision}",
        vector_memory=BASE_MEMORY + map_memory(grid, BUSY, settings.vector),
        # Tiles, what they are assembled in, the rasters; and some polygons.
        disk=grid.width * grid.height * (3 * layers + 1),
        warnings=job.fit.warnings,
    )


BASE_MEMORY = 1_200 * 2**20
"""Python with torch, GDAL and its block cache."""
BUSY = Density(components=5e-3, arcs=8e-3, vertices=0.2, lasting_arcs=4e-4, lasting_vertices=1e-2)
"""A busy real map; smooth ones have a tenth of its components, noise six times as many."""


def _parts(grid: Grid) -> str:
    """Number of polygons that the estimate is for."""
    return f"{max(1, round(grid.width * grid.height * BUSY.components)):,}"
