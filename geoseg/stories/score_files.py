"""Score rasters that stand beside a class raster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.io.class_raster import scene_name
from geoseg.settings import VectorSettings


@dataclass(frozen=True)
class ScoreFiles:
    """Those that polygons and objects may need; None: there is none, or nobody asks."""

    confidence: Path | None = None
    """Winning scores."""
    probabilities: Path | None = None
    """Scores of all classes, a band each."""

    @classmethod
    def beside(cls, raster: Path, settings: VectorSettings) -> ScoreFiles:
        """The confidence raster as set, else the sibling of the class raster; probabilities where objects need them.

        Args:
            raster: class raster, `NAME.classes.tif`; siblings are `NAME.confidence.tif` and `NAME.probabilities.tif`.
            settings: for polygons.
        """
        confidence = settings.scores or _sibling(raster, "confidence")
        return cls(confidence, _sibling(raster, "probabilities") if settings.needs_probabilities else None)

    @property
    def layers(self) -> frozenset[str]:
        """Names of those that are."""
        both = {"confidence": self.confidence, "probabilities": self.probabilities}
        return frozenset(name for name, path in both.items() if path is not None)


def _sibling(raster: Path, layer: str) -> Path | None:
    found = raster.with_name(f"{scene_name(raster)}.{layer}.tif")
    return found if found.is_file() and found != raster else None
