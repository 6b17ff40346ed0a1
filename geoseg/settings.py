"""Every option and every default, in one place: frozen value objects without behavior.

The command line, YAML files and the Python API all fill these; stories read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import UsageError
from geoseg.object_settings import ObjectSettings
from geoseg.predict_settings import SCORE_LAYERS, Backend, Blend, Precision, PredictSettings, Tta
from geoseg.spelling import Strict, bytes_of, is_number, numbers, path, texts, words

__all__ = [
    "SCORE_LAYERS",
    "VECTOR_SUFFIXES",
    "Backend",
    "Blend",
    "Cluster",
    "Collar",
    "OutputSettings",
    "Overlap",
    "Precision",
    "PredictSettings",
    "ReadSettings",
    "RunSettings",
    "ScheduleSettings",
    "Together",
    "Tta",
    "ValidRule",
    "VectorSettings",
]
Cluster = Literal["slurm", "pbs", "lsf", "sge", "local"]
Collar = Literal["auto", "0", "255"]
Together = Literal["stack", "dates", "each", "mosaic"]
Overlap = Literal["first", "latest", "clearest"]
ValidRule = Literal["all", "any"]

VECTOR_SUFFIXES = (".gpkg", ".shp", ".fgb", ".geojson", ".parquet")
_LARGEST_TOLERANCE = 1e8  # more than the way round the Earth


@dataclass(frozen=True, kw_only=True)
class ReadSettings(Strict):
    """How inputs become one scene."""

    together: Together | None = None
    """What several inputs are: files of one scene, dates of one place, separate scenes, or neighbors."""
    overlap: Overlap = "first"
    """The scene of a mosaic that gives a pixel usable in several: first given, latest, or least masked as a whole."""
    grid_of: Path | None = None
    """File whose grid a stack lives on; None: the file that holds the first requested band."""
    bands: tuple[str, ...] = ()
    """`name=NUMBER|DESCRIPTION` or `name=FILE[:NUMBER]`; empty: by the files' own band names."""
    scale: tuple[float, ...] = ()
    """Reflectance = DN·scale + offset; one value for all bands or one a band; empty: from metadata."""
    offset: tuple[float, ...] = ()
    nodata: str | None = None
    """A number, or "none" to ignore the file's nodata tag; None: as tagged."""
    collar: Collar | None = None
    """Value that marks "no image here" when every band holds it; "auto" looks along the border."""
    valid: ValidRule = "all"
    """A pixel is valid when all (any) of the used bands are."""
    assume_crs: str | None = None
    """CRS for files that carry none."""
    aoi: Path | None = None
    """Polygons, in any CRS, where results are wanted: rasters hold all pixels that these touch, polygons end exactly at
    their boundary."""
    sensor: str = "auto"
    """Preset by name or YAML file; "auto" recognizes products, "none" takes files as they are."""
    mask: tuple[str, ...] = ("auto",)
    """Layers of unusable area: `auto[:REASONS]`, `none`, `FILE[:RULE][:REASONS]` (see `geoseg.quality`)."""
    mask_buffer: float = 0.0
    """Ground metres around masked pixels that are masked, too."""
    grid: str | None = None
    """Grid to work on: a raster file that has it, or `CRS,RES`; None: the input's."""
    datetime: str | None = None
    """When the image was taken, ISO 8601; None: from metadata, if it says."""
    sign: str | None = None
    """Hook that signs web addresses, `planetary-computer` or `module:function`; see `geoseg.io.signing`."""

    def __post_init__(self) -> None:
        for name, convert in (("bands", words), ("scale", numbers), ("offset", numbers), ("mask", texts)):
            self._take(name, convert)
        for name in ("grid_of", "aoi"):
            self._take(name, path)
        for name, type_ in (("together", Together), ("overlap", Overlap), ("collar", Collar), ("valid", ValidRule)):
            self._check(name, type_)
        if self.nodata is not None and self.nodata.lower() != "none" and not is_number(self.nodata):
            raise UsageError(f"--nodata {self.nodata!r} is neither a number nor 'none'.")
        for flag, values in (("--scale", self.scale), ("--offset", self.offset)):
            if not all(map(math.isfinite, values)):
                raise UsageError(f"{flag} {','.join(f'{value:g}' for value in values)} must be finite.")
        if not 0 <= self.mask_buffer < math.inf:
            raise UsageError(f"--mask-buffer {self.mask_buffer:g} must be metres, 0 or more.")
        if 0 in self.scale:
            raise UsageError("--scale 0 would make every pixel equal; leave it out for numbers as stored.")


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Strict):
    """Where tiles are computed; nothing here changes the result."""

    tile: int | None = None
    """Wished side of a tile in pixels, rounded down to whole chip steps, at least one; None: up to 2048,
    smaller where that keeps all workers busy."""
    workers: int | None = None
    """Number of worker processes; None: threads of this process."""
    scheduler: str | None = None
    """Address of a running Dask scheduler."""
    max_memory: str | None = None
    """What the process, its libraries and its workers included, may come to, as `4GB`; None: what the machine has left,
    less a reserve. Tiles, results that wait and threads become fewer until it suffices; else there is an error, not a
    swap."""
    cluster: Cluster | None = None
    """Batch system to which `workers` (default: 1) jobs are submitted, by dask-jobqueue; "local": this machine."""
    cluster_options: dict[str, Any] = field(default_factory=dict, hash=False)
    """What dask-jobqueue's cluster of that system takes: queue, account, cores, memory, walltime, …"""
    patience: float = 300.0
    """Longest time in seconds without any worker of a cluster; then the run ends, to be resumed."""

    @property
    def distributed(self) -> bool:
        """True when tiles are computed in other processes."""
        return any(way is not None for way in (self.workers, self.scheduler, self.cluster))

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise UsageError(f"--tile {self.tile} must be at least 1 pixel.")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers} must be at least 1.")
        self._check("cluster", Cluster)
        if self.cluster is not None and self.scheduler is not None:
            raise UsageError("--cluster starts workers, --scheduler uses running ones: give one of them.")
        if self.cluster_options and self.cluster is None:
            raise UsageError("cluster_options are those of a --cluster: name one (slurm, pbs, lsf, sge or local).")
        if not 0 < self.patience < math.inf:
            raise UsageError(f"--patience {self.patience:g} must be seconds, more than 0.")
        if self.workers is not None and self.scheduler is not None:
            raise UsageError("--workers starts processes, --scheduler uses running ones: give one of them.")
        if self.max_memory is not None:
            bytes_of(self.max_memory)


@dataclass(frozen=True, kw_only=True)
class VectorSettings(ObjectSettings):
    """How a class raster becomes polygons."""

    formats: tuple[str, ...] = ("gpkg",)
    """Formats that `run` writes: gpkg, shp, fgb, geojson, parquet."""
    skip_classes: tuple[str, ...] = ()
    """Class names or codes that get no polygons."""
    mmu: str | None = None
    """Minimum mapping unit, `0.5ha`, `5000m2` or `9px`: smaller components go to the neighbor with the longest border;
    None: all stay."""
    mmu_class: str | None = None
    """Minimum mapping units of single classes, `water=0.1ha,10=9px`, by name or code."""
    keep_class: tuple[str, ...] = ()
    """Class names or codes that are never given away, however small."""
    mmu_connect: Literal[4, 8] = 4
    """With 8 components that meet at corners count as one when they are measured; polygons stay as they are."""
    simplify: float = 0.0
    """Tolerance in ground meters: corners whose triangle with their neighbors is smaller than its square go. Where
    pixels differ in area, those in the middle row of the raster say how many pixels a meter is."""
    simplify_outer: bool = False
    """Simplify and smooth lines along nodata and the raster's frame, too."""
    smooth: bool = False
    """Cut the corners of the staircase; no line moves by more than half a pixel."""
    max_vertices: int | None = None
    """Polygons with more vertices before simplification are cut along a fixed grid into parts of one `poly_id`."""
    dissolve: bool = False
    """One multipolygon for each class instead of a polygon for each component."""
    out_crs: str | None = None
    """CRS of the polygons, as `EPSG:3857`; areas stay ground meters. None: the raster's."""
    scores: Path | None = None
    """Confidence raster; None: the sibling `*.confidence.tif`, if any."""
    legend: str | None = None
    """Legend that renames and merges the classes of the model (on its scores) or, for `vectorize` and `stats`, of the
    class raster: a file or a shipped name."""
    zones: Path | None = None
    """`run`: polygons by which a table of classes is made."""
    zone_field: str | None = None
    """Field that names the zones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take("skip_classes", words)
        self._take("keep_class", words)
        self._take("scores", path)
        self._take("zones", path)
        # `.GPKG` is gpkg, and gpkg twice is gpkg.
        self._take("formats", lambda given: tuple(dict.fromkeys(w.lower().lstrip(".") for w in words(given))))
        known = [suffix.removeprefix(".") for suffix in VECTOR_SUFFIXES]
        for name in self.formats:
            if name not in known:
                raise UsageError(f"--format {name!r} is unknown; geoseg writes {', '.join(known)}.")
        if not self.formats:
            raise UsageError(f"--format is empty; geoseg writes {', '.join(known)}.")
        self._check_shaping()

    @property
    def generalizes(self) -> bool:
        """True where polygons outline another map than the model's answer."""
        return self.mmu is not None or self.mmu_class is not None or self.moves_pixels

    def _check_shaping(self) -> None:
        if self.mmu_connect not in {4, 8}:
            raise UsageError(f"--mmu-connect {self.mmu_connect} is not 4 or 8.")
        if not 0 <= self.simplify <= _LARGEST_TOLERANCE:
            raise UsageError(f"--simplify {self.simplify:g} must be meters, 0 to {_LARGEST_TOLERANCE:g}.")
        # Smoothing puts two vertices where one was; a pixel has four.
        least, why = (8, " with --smooth") if self.smooth else (4, "")
        if self.max_vertices is not None and self.max_vertices < least:
            raise UsageError(f"--max-vertices {self.max_vertices} must be at least {least}{why}.")
        if self.dissolve and self.max_vertices is not None:
            raise UsageError(
                f"--dissolve joins what --max-vertices {self.max_vertices} cuts apart: give one of the two."
            )
        if self.dissolve and self.splitting.method != "components":
            raise UsageError(f"--dissolve joins the objects that --split {self.split} makes: give one of the two.")


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Strict):
    """What happens to what is already there."""

    overwrite: bool = False
    update: bool = False
    """Bring a finished output up to date with changed inputs: only chips that read something else are predicted."""
    name: str | None = None
    """Stem of the output names; None: the product's name, else the first input's stem."""
    break_lock: bool = False
    restart: bool = False
    """Discard the finished tiles of interrupted runs."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(Strict):
    """Everything that `run` takes besides inputs and output folder."""

    read: ReadSettings = field(default_factory=ReadSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    vector: VectorSettings = field(default_factory=VectorSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    @property
    def layers(self) -> tuple[str, ...]:
        """The score layers asked for, and those that objects are made by, in the order of `SCORE_LAYERS`."""
        needed = {"probabilities"} if self.vector.needs_probabilities else set()
        return tuple(name for name in SCORE_LAYERS if name in {*self.predict.layers, *needed})
