"""The first half of a run: what the model says of every pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
    with ExitStack() as stack:
        pixels = stack.enter_context(
            predicted(work.job, work.resolved, work.settings, publication, names, watcher, finished, turn=work.turn)
        )
        check_unchanged(work.job, key, publication)
        summary = summarize(pixels.tally, work.job)
        if not (work.names.generalized or work.names.instances):
            yield Answer(summary, pixels.view, pixels.write_classes)
            return
        # Another raster of this size is to come, for which the disk may have no room beside this one's pixels.
        pixels.write_classes()
        stack.close()
        yield _standing(summary, work)


def _taken(found: EarlierAnswer, work: Work) -> Answer:
    for old, new in zip(found.files, work.names.segmented.all, strict=True):
        shutil.copyfile(old, work.stage(new))
    work.watcher.note(f"nothing changed before the polygons: pixels are those of {found.files[0].name}")
    return _standing(found.summary, work)


def _standing(summary: Summary, work: Work) -> Answer:
    return Answer(summary, work.stage(work.names.answer), lambda: None)
