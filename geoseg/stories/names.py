"""What the main job writes: its files' names, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.io.vector import sidecars
from geoseg.settings import RunSettings
from geoseg.stories.segment import Summary, raster_names


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What `run` made (or found already made)."""

    folder: Path
    classes: Path
    polygons: tuple[Path, ...]
    """One a format."""
    confidence: Path | None
    zones: Path | None
    """Table of classes by zone."""
    preview: Path
    record: Path
    """STAC item; it names every file with its checksum."""
    summary: Summary
    n_polygons: int
    up_to_date: bool = False


@dataclass(frozen=True, kw_only=True)
class OutputNames:
    """Final file names of one scene."""

    rasters: list[str]
    """Class raster, its sidecars and, last, the confidence raster if asked for."""
    polygons: list[str]
    preview: str
    record: str
    confidence: bool
    zones: str | None = None
    """Table of `--zones`."""

    @classmethod
    def of(cls, name: str, settings: RunSettings) -> OutputNames:
        """Names for a scene called `name`."""
        confidence = settings.predict.confidence
        return cls(
            rasters=raster_names(f"{name}.classes.tif", f"{name}.confidence.tif", confidence=confidence),
            polygons=[f"{name}.polygons.{suffix}" for suffix in settings.vector.formats],
            preview=f"{name}.preview.png",
            record=f"{name}.json",
            confidence=confidence,
            zones=None if settings.vector.zones is None else f"{name}.zones.csv",
        )

    @property
    def all(self) -> list[str]:
        """Every file but the record."""
        beside = [path.name for name in self.polygons for path in sidecars(Path(name))]
        # Formats of one stem share their .qml.
        tables = [] if self.zones is None else [self.zones]
        return [*self.rasters, *self.polygons, *dict.fromkeys(beside), *tables, self.preview]

    def result(self, folder: Path, summary: Summary, n_polygons: int, *, up_to_date: bool = False) -> RunResult:
        """The result object for these names in a folder."""
        return RunResult(
            folder=folder,
            classes=folder / self.rasters[0],
            polygons=tuple(folder / name for name in self.polygons),
            confidence=folder / self.rasters[-1] if self.confidence else None,
            zones=None if self.zones is None else folder / self.zones,
            preview=folder / self.preview,
            record=folder / self.record,
            summary=summary,
            n_polygons=n_polygons,
            up_to_date=up_to_date,
        )
