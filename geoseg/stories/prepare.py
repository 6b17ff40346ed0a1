"""Before any work: open the scene, find the model, see whether they fit, lay the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import InputError, OutputExistsError, UsageError
from geoseg.grid import Grid
from geoseg.io.compose import open_scene
from geoseg.io.legend_file import read_legend_file
from geoseg.io.publish import Publication
from geoseg.io.read import touches_aoi
from geoseg.io.remote import is_remote
from geoseg.io.sample import fingerprint, lot, sample_pixels
from geoseg.io.scene import Scene, path_name
from geoseg.legend import Merge
from geoseg.log import stage
from geoseg.model.file import ModelRef, find_model
from geoseg.model.fit import BandSample, check_values, choose_bands, network_gsd, sample
from geoseg.model.normalize import reflectance
from geoseg.settings import ReadSettings, RunSettings, ScheduleSettings
from geoseg.spelling import is_stem
from geoseg.stories.mosaic_facts import band_rows, mosaic_key
from geoseg.tiling.crew import Crew
from geoseg.tiling.plan import TilePlan, plan_tiles
from geoseg.tiling.seam import pairs_by_lot, sampled_pairs

LARGEST_TILE = 2048
TILES_PER_WORKER = 4
KEY_VERSION = 4
"""Raised when a change of geoseg changes pixels."""


@dataclass(frozen=True)
class Fit:
    """A scene seen by a model."""

    scene: Scene
    """With the model's bands only, in the model's order."""
    absent: tuple[str, ...]
    """Optional bands that the scene lacks."""
    network_gsd_m: float | None
    """Pixel size for the network when it is not the scene's own."""
    samples: tuple[BandSample, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One scene, ready to be segmented."""

    name: str
    fit: Fit
    model: ModelRef
    plan: TilePlan
    sources: tuple[Path, ...]
    """Every file that is read; no output may replace one."""
    merge: Merge | None = None
    """How the user's legend takes the model's classes; None: they stay as they are."""
    crew: Crew | None = None
    """Threads that do it; None: as many as there are processors."""
    bound: int | None = None
    """Bytes that the process may come to until the rasters are written; None: not yet known."""

    @property
    def scene(self) -> Scene:
        """The scene with the model's bands."""
        return self.fit.scene

    @property
    def scheme(self) -> ClassScheme:
        """Classes of the results."""
        return self.model.spec.classes if self.merge is None else self.merge.scheme


@stage("prepare")
def prepare(inputs: Sequence[str | Path], settings: RunSettings) -> Job:
    """Open, check and plan; reads a small sample of pixels and nothing else.

    Raises:
        GeosegError: whatever makes the job impossible, before any time is spent on it.
    """
    paths = together(inputs, settings.read)
    scene = open_scene(paths, settings.read)
    if not touches_aoi(scene, scene.grid.window):
        raise InputError(f"AOI {settings.read.aoi} lies wholly outside the raster; check its place and CRS.")
    model = find_model(settings.predict.model)
    fit = fit_scene(scene, model)
    spec = model.spec
    chip = settings.predict.chip or spec.chip
    if spec.fixed_chip and chip != spec.chip:
        raise UsageError(f"--chip {chip}: model {spec.name} takes chips of {spec.chip} pixels only.")
    plan = plan_tiles(
        scene.grid,
        chip=chip,
        margin=spec.margin if settings.predict.margin is None else settings.predict.margin,
        stride=spec.stride,
        tile=settings.schedule.tile or _tile_for(scene.grid, settings.schedule),
        network_gsd_m=fit.network_gsd_m,
        fixed_chip=spec.fixed_chip,
        blend=settings.predict.blend,
    )
    if settings.predict.seam_share is not None:
        plan = replace(plan, seam_pairs=pairs_by_lot(plan, settings.predict.seam_share, lot(_contents(scene))))
    merge = None
    if settings.vector.legend is not None:
        merge = read_legend_file(settings.vector.legend).onto(spec.classes)
    return Job(_name(paths, scene, settings), fit, model, plan, _sources(paths, scene, model, settings), merge)


def _sources(paths: Sequence[str], scene: Scene, model: ModelRef, settings: RunSettings) -> tuple[Path, ...]:
    given = (settings.read.aoi, settings.read.grid_of, settings.read.grid, settings.vector.legend)
    read = (
        *paths,
        *scene.paths,
        *(mask.path for mask in scene.all_masks),
        model.path,
        *(path for path in given if path),
    )
    return tuple(dict.fromkeys(Path(path) for path in read if not is_remote(str(path))))


def _name(paths: Sequence[str], scene: Scene, settings: RunSettings) -> str:
    """Stem of the output names.

    Raises:
        UsageError: it cannot be part of a file name.
    """
    name = settings.output.name
    if name is None:
        name = scene.scene_id or Path(path_name(paths[0])).stem
    if not is_stem(name):
        raise UsageError(f"output files cannot be called {name!r}…; pass another --name, without / \\ : ; ! in it.")
    return name


def keep_sources(job: Job, folder: Path, names: Sequence[str]) -> None:
    """Refuse to write over what is read, `--overwrite` or not.

    Raises:
        OutputExistsError: an output would be one of the job's sources, by whatever name or link.
    """
    for target in (folder / name for name in names):
        for source in job.sources:
            if target.exists() and source.exists() and target.samefile(source):
                raise OutputExistsError(f"output {target} is also an input; choose another -o or --name.")


def _tile_for(grid: Grid, schedule: ScheduleSettings) -> int:
    """A tile side that gives every worker several tiles; it cannot change the result (law 2)."""
    from geoseg.tiling.schedule import slots

    side = math.sqrt(grid.width * grid.height / (TILES_PER_WORKER * slots(schedule)))
    return max(1, min(LARGEST_TILE, int(side)))


def together(inputs: Sequence[str | Path], settings: ReadSettings) -> list[str]:
    """Several inputs are one scene only when the user says so.

    Raises:
        UsageError: several inputs and no word on what they are to each other.
    """
    paths = [str(path) for path in inputs]
    if not paths:
        raise UsageError("no input given.")
    if len(paths) > 1 and settings.together == "each":
        raise UsageError(f"{len(paths)} separate scenes: one call takes one of them.")
    if settings.overlap != "first" and settings.together != "mosaic":
        raise UsageError(f"--overlap {settings.overlap} is for scenes of a --mosaic; leave it out.")
    if len(paths) == 1 and settings.together == "dates":
        raise UsageError("--dates needs one input for each date, in the model's order; this is one.")
    if len(paths) > 1 and settings.together not in {"stack", "dates", "mosaic"}:
        raise UsageError(
            f"{len(paths)} inputs: say what they are: --stack (files of one scene), --dates (dates of one place), "
            f"--each (separate scenes) or --mosaic (neighbors on one map)."
        )
    return paths


def fit_scene(scene: Scene, model: ModelRef) -> Fit:
    """Bands, pixel size and values of a scene against a model's spec.

    Raises:
        ConfigError: bands are missing.
        InputError: pixel size or values are hopeless.
    """
    names, absent = choose_bands(model.spec, scene.names)
    scene = scene.select(names)
    gsd = network_gsd(model.spec, scene.grid.gsd_m)
    warnings = []
    if absent:
        warnings.append(f"the input lacks {', '.join(absent)}; model {model.spec.name} does without, less accurately")
    samples: tuple[BandSample, ...] = ()
    pixels = sample_pixels(scene)
    if pixels.shape[1]:
        bands = [band for band in model.spec.bands if band.name in names]
        samples = tuple(sample(reflectance(pixels, scene.scale, scene.offset), bands))
        warnings += check_values(model.spec, samples)
    else:
        warnings.append("no valid pixel found: values were not checked; check --nodata, --collar, --mask and --aoi")
    return Fit(scene, absent, gsd, samples, tuple(warnings))


def segment_key(job: Job, settings: RunSettings, resolved: dict[str, Any]) -> dict[str, Any]:
    """Everything that the class raster depends on; tile size, workers and batches are not in it (law 2)."""
    scene = job.scene
    return {
        "version": KEY_VERSION,
        "geoseg": __version__,
        "input": [fingerprint(path) for path in _contents(scene)],
        "bands": band_rows(scene.bands),
        "validity": [scene.valid_rule, scene.collar],
        **({} if scene.mosaic is None else mosaic_key(scene.mosaic)),
        "masks": [[fingerprint(mask.path), mask.rule, list(mask.reasons)] for mask in scene.masks],
        "mask buffer": scene.mask_buffer_m,
        "taken": None if scene.acquired is None else scene.acquired.text,
        "aoi": None if scene.aoi_wkb is None else f"touches {scene.aoi_wkb.hex()}",
        "grid": grid_json(scene.grid),
        "network grid": grid_json(job.plan.network_grid),
        "model": job.model.sha256,
        "legend": None if job.merge is None else [job.merge.scheme.to_json(), list(job.merge.index_of)],
        "chip": [job.plan.chip, job.plan.margin, job.plan.stride],
        "blend": job.plan.blend,
        "tta": settings.predict.tta,
        "scores": list(settings.layers),
        **resolved,
    }


def tiles_key(job: Job, key: dict[str, Any]) -> dict[str, Any]:
    """What finished tiles depend on: the `segment_key`, and the pairs of chips they compare, if not the usual ones."""
    pairs = sum(1 for _ in sampled_pairs(job.plan))
    usual = sum(1 for _ in sampled_pairs(replace(job.plan, seam_pairs=None)))
    return key if pairs == usual else key | {"seam pairs": pairs}


def _contents(scene: Scene) -> tuple[str, ...]:
    """Files with the pixels of a scene; those of a mosaic's scenes with the masks that each has of its own."""
    own = [mask.path for mask in scene.all_masks if mask not in scene.masks]
    return tuple(dict.fromkeys([*scene.paths, *own]))


def check_unchanged(job: Job, key: dict[str, Any], publication: Publication) -> None:
    """Look at the inputs again before anything is published: pixels of two files must not be mixed.

    Args:
        job: what was done.
        key: its `segment_key`, made before.
        publication: whose finished tiles are discarded in that case.

    Raises:
        InputError: a file changed meanwhile.
    """
    before = [*key["input"], *(mask[0] for mask in key["masks"])]
    paths = [*_contents(job.scene), *(mask.path for mask in job.scene.masks)]
    for path, print_before in zip(paths, before, strict=True):
        if fingerprint(path) != print_before:
            publication.tiles.clear()
            raise InputError(f"input {path} changed during the run; run again when nobody writes it.")


def grid_json(grid: Grid) -> dict[str, Any]:
    """A grid as plain JSON; the CRS as authority code where it has one, else as WKT2."""
    authority = grid.crs.to_authority(min_confidence=100)
    return {
        "crs": ":".join(authority) if authority else grid.crs.to_wkt(),
        "transform": list(grid.transform)[:6],
        "size": [grid.width, grid.height],
    }


def crs_name(grid: Grid) -> str:
    """A grid's CRS for people."""
    authority = grid.crs.to_authority(min_confidence=100)
    return f"{grid.crs.name} ({':'.join(authority)})" if authority else f"{grid.crs.name} (no authority code)"
