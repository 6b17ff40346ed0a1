"""What the main job writes: its files' names, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.io.cog import class_cog_files
from geoseg.io.vector import sidecars
from geoseg.settings import RunSettings
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.raster_names import RasterNames
from geoseg.stories.segment import Summary


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What `run` made (or found already made)."""

    folder: Path
    classes: Path
    raw: Path | None
    """The model's answer, where `classes` is generalized by a minimum mapping unit or by objects that grew."""
    polygons: tuple[Path, ...]
    """One a format."""
    confidence: Path | None
    ambiguity: Path | None
    probabilities: Path | None
    zones: Path | None
    """Table of classes by zone."""
    instances: Path | None
    """Numbers of objects where a class is a thing, on the grid of `classes`: with it, the panoptic pair."""
    preview: Path
    report: Path
    """Page for people: image under class map, areas, scores, where it comes from."""
    record: Path
    """STAC item; it names every file with its checksum."""
    summary: Summary
    n_polygons: int
    changed: tuple[ClassChange, ...] = ()
    """What the minimum mapping unit gave to other classes, largest area first."""
    up_to_date: bool = False
    sources: tuple[Path, ...] = ()
    """Every file of this computer that was read."""


@dataclass(frozen=True, kw_only=True)
class OutputNames:
    """Final file names of one scene."""

    segmented: RasterNames
    """The model's answer."""
    generalized: list[str]
    """With a minimum mapping unit, or where objects grow, the class raster that polygons outline, and its sidecars."""
    polygons: list[str]
    preview: str
    report: str
    record: str
    zones: str | None = None
    """Table of `--zones`."""
    instances: str | None = None
    """Numbers of objects, where there are things."""

    @classmethod
    def of(cls, name: str, settings: RunSettings, *, things: bool = False) -> OutputNames:
        """Names for a scene called `name`; things: whether a class is one."""
        vector = settings.vector
        with_unit = vector.generalizes
        classes = f"{name}.classes.tif"
        answer = f"{name}.raw.tif" if with_unit else classes
        return cls(
            segmented=RasterNames.of(answer, name, settings.layers),
            generalized=[path.name for path in class_cog_files(Path(classes))] if with_unit else [],
            polygons=[f"{name}.polygons.{suffix}" for suffix in vector.formats],
            preview=f"{name}.preview.png",
            report=f"{name}.report.html",
            record=f"{name}.json",
            zones=None if vector.zones is None else f"{name}.zones.csv",
            instances=f"{name}.instances.tif" if things else None,
        )

    @property
    def answer(self) -> str:
        """Class raster as the model gave it."""
        return self.segmented.classes

    @property
    def classes(self) -> str:
        """Class raster that polygons, tables and preview show."""
        return self.generalized[0] if self.generalized else self.answer

    @property
    def all(self) -> list[str]:
        """Every file but the record."""
        beside = [path.name for name in self.polygons for path in sidecars(Path(name))]
        # Formats of one stem share their .qml.
        tables = [] if self.zones is None else [self.zones]
        objects = [] if self.instances is None else [self.instances]
        rasters = [*self.generalized, *self.segmented.all, *objects]
        return [*rasters, *self.polygons, *dict.fromkeys(beside), *tables, self.preview, self.report]

    def result(
        self,
        folder: Path,
        summary: Summary,
        n_polygons: int,
        changed: tuple[ClassChange, ...],
        *,
        up_to_date: bool = False,
    ) -> RunResult:
        """The result object for these names in a folder."""
        return RunResult(
            folder=folder,
            classes=folder / self.classes,
            raw=folder / self.answer if self.generalized else None,
            polygons=tuple(folder / name for name in self.polygons),
            confidence=self.segmented.score("confidence", folder),
            ambiguity=self.segmented.score("ambiguity", folder),
            probabilities=self.segmented.score("probabilities", folder),
            zones=None if self.zones is None else folder / self.zones,
            instances=None if self.instances is None else folder / self.instances,
            preview=folder / self.preview,
            report=folder / self.report,
            record=folder / self.record,
            summary=summary,
            n_polygons=n_polygons,
            changed=changed,
            up_to_date=up_to_date,
        )
