"""geoseg: large georeferenced rasters to land-use and vegetation polygons."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.batch_settings import BatchSettings
    from geoseg.io.compose import open_scene
    from geoseg.io.scene import Scene
    from geoseg.ledger.scene import BatchScene
    from geoseg.manifest.read import read_scenes
    from geoseg.settings import (
        OutputSettings,
        PredictSettings,
        ReadSettings,
        RunSettings,
        ScheduleSettings,
        VectorSettings,
    )
    from geoseg.stories.batch import BatchResult, batch
    from geoseg.stories.change import ChangeResult, change
    from geoseg.stories.combine import CombineResult, combine
    from geoseg.stories.evaluate import EvaluateResult, evaluate
    from geoseg.stories.evaluate_settings import EvaluateSettings
    from geoseg.stories.names import RunResult
    from geoseg.stories.run import run
    from geoseg.stories.sample import SampleResult, SampleSettings, sample
    from geoseg.stories.segment import SegmentResult, segment
    from geoseg.stories.stats import StatsResult, stats
    from geoseg.stories.suggest import SuggestResult, suggest
    from geoseg.stories.vectorize import VectorizeResult, vectorize
    from geoseg.stories.verify import VerifyReport, verify

__version__ = "0.1.0"

__all__ = [
    "BatchResult",
    "BatchScene",
    "BatchSettings",
    "ChangeResult",
    "CombineResult",
    "EvaluateResult",
    "EvaluateSettings",
    "OutputSettings",
    "PredictSettings",
    "ReadSettings",
    "RunResult",
    "RunSettings",
    "SampleResult",
    "SampleSettings",
    "Scene",
    "ScheduleSettings",
    "SegmentResult",
    "StatsResult",
    "SuggestResult",
    "VectorSettings",
    "VectorizeResult",
    "VerifyReport",
    "__version__",
    "batch",
    "change",
    "combine",
    "evaluate",
    "open_scene",
    "read_scenes",
    "run",
    "sample",
    "segment",
    "stats",
    "suggest",
    "vectorize",
    "verify",
]

_HOME = {
    "BatchResult": "geoseg.stories.batch",
    "BatchScene": "geoseg.ledger.scene",
    "BatchSettings": "geoseg.batch_settings",
    "ChangeResult": "geoseg.stories.change",
    "CombineResult": "geoseg.stories.combine",
    "EvaluateResult": "geoseg.stories.evaluate",
    "EvaluateSettings": "geoseg.stories.evaluate_settings",
    "OutputSettings": "geoseg.settings",
    "PredictSettings": "geoseg.settings",
    "ReadSettings": "geoseg.settings",
    "RunResult": "geoseg.stories.names",
    "RunSettings": "geoseg.settings",
    "ScheduleSettings": "geoseg.settings",
    "SampleResult": "geoseg.stories.sample",
    "SampleSettings": "geoseg.stories.sample",
    "Scene": "geoseg.io.scene",
    "SegmentResult": "geoseg.stories.segment",
    "StatsResult": "geoseg.stories.stats",
    "SuggestResult": "geoseg.stories.suggest",
    "VectorSettings": "geoseg.settings",
    "VectorizeResult": "geoseg.stories.vectorize",
    "batch": "geoseg.stories.batch",
    "VerifyReport": "geoseg.stories.verify",
    "change": "geoseg.stories.change",
    "combine": "geoseg.stories.combine",
    "evaluate": "geoseg.stories.evaluate",
    "open_scene": "geoseg.io.compose",
    "read_scenes": "geoseg.manifest.read",
    "run": "geoseg.stories.run",
    "sample": "geoseg.stories.sample",
    "segment": "geoseg.stories.segment",
    "stats": "geoseg.stories.stats",
    "suggest": "geoseg.stories.suggest",
    "vectorize": "geoseg.stories.vectorize",
    "verify": "geoseg.stories.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562), so that `import geoseg` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
