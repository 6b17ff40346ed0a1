"""What the files of one answer are called: class raster, its sidecars, score rasters, the table of what was read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg.io.cog import class_cog_files
from geoseg.settings import SCORE_LAYERS


@dataclass(frozen=True)
class RasterNames:
    """Final names, without folder."""

    classes: str
    scores: Mapping[str, str]
    """Layer → name, in the order of `settings.SCORE_LAYERS`."""
    tiles: str
    """What each chip read, for `--update`."""

    @classmethod
    def of(cls, classes: str, stem: str, layers: Collection[str]) -> RasterNames:
        """Names beside a class raster; score rasters are called `<stem>.<layer>.tif`."""
        scores = {layer: f"{stem}.{layer}.tif" for layer in SCORE_LAYERS if layer in layers}
        return cls(classes, scores, f"{stem}.tiles.parquet")

    @property
    def all(self) -> list[str]:
        """Every file, the class raster first."""
        return [*(path.name for path in class_cog_files(Path(self.classes))), *self.scores.values(), self.tiles]

    def score(self, layer: str, folder: Path) -> Path | None:
        """Path of a score raster; None where it is not written."""
        return folder / self.scores[layer] if layer in self.scores else None


def score_bands(layers: Collection[str], classes: int) -> int:
    """Bytes per pixel of score layers: probabilities have a band for each class."""
    return sum(classes if layer == "probabilities" else 1 for layer in layers)
