"""The first half of a run: what the model says of every pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.io.publish import Publication
from geoseg.model.device import Resolved
from geoseg.settings import RunSettings
from geoseg.stories.earlier import EarlierAnswer, earlier_answer
from geoseg.stories.names import OutputNames
from geoseg.stories.past import Call
from geoseg.stories.prepare import Job, check_unchanged
from geoseg.stories.rasters import predicted
from geoseg.stories.segment import Summary, announce, summarize
from geoseg.stories.update import finished_pixels
from geoseg.stories.watcher import Watcher


@dataclass(frozen=True)
class Work:
    """What the stages of one run share."""

    job: Job
    resolved: Resolved
    settings: RunSettings
    names: OutputNames
    publication: Publication
    watcher: Watcher
    call: Call
    turn: AbstractContextManager[object] | None
    folder: Path

    def stage(self, name: str) -> Path:
        """Where to write a file before it is published."""
        return self.publication.stage(name)


@dataclass(frozen=True)
class Answer:
    """The model's answer, before any minimum mapping unit."""

    summary: Summary
    raster: Path
    """A class raster to read; perhaps not the staged one, which may not stand yet."""
    finish: Callable[[], None]
    """Makes the staged one stand; raises OutputError."""


@contextmanager
def answered(work: Work) -> Iterator[Answer]:
    """The model's answer: an earlier run's if it answered the same question, else a new one.

    Raises:
        GeosegError: see `geoseg.errors`.
    """
    announce(work.job, work.watcher)
    unit = work.job.model.spec.default_mmu
    if unit is not None and not work.names.generalized:
        work.watcher.note(f"the model's makers suggest --mmu {unit}; none is applied")
    found = earlier_answer(work.folder / work.names.record, work.publication.key["segment"])
    if found is not None:
        yield _taken(found, work)
        return
    names, key, finished = work.names.segmented, work.publication.key["segment"], None
    if work.settings.output.update:
        finished = finished_pixels(work.folder / work.names.record, key, names, work.job.plan, work.watcher)
    publication, watcher = work.publication, work.watcher
    with predicted(
        work.job, work.resolved, work.settings, publication, names, watcher, finished, turn=work.turn
    ) as pixels:
        check_unchanged(work.job, key, publication)
        yield Answer(summarize(pixels.tally, work.job), pixels.view, pixels.write_classes)


def _taken(found: EarlierAnswer, work: Work) -> Answer:
    for old, new in zip(found.files, work.names.segmented.all, strict=True):
        shutil.copyfile(old, work.stage(new))
    work.watcher.note(f"nothing changed before the polygons: pixels are those of {found.files[0].name}")
    return Answer(found.summary, work.stage(work.names.answer), lambda: None)
