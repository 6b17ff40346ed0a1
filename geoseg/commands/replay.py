"""`geoseg run --replay`: a call, or one that an earlier run has recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import UsageError
from geoseg.options import settings_from

if TYPE_CHECKING:
    from geoseg.settings import RunSettings
    from geoseg.stories.past import Past, Replayed

REPLAY = (
    click.option(
        "--replay",
        type=click.Path(path_type=Path),
        metavar="ITEM",
        help="Repeat the run of this NAME.json and say what differs; inputs and flags given here win.",
    ),
)


@dataclass(frozen=True)
class Recalled:
    """What is to be run."""

    inputs: tuple[str, ...]
    folder: Path
    settings: RunSettings | None = None
    """None: nothing is replayed, settings are those of the flags."""
    past: Past | None = None

    def compared(self, record: Path) -> Replayed | None:
        """How a new run compares with the one that it repeats; None: it repeats none."""
        from geoseg.stories.past import Replayed

        return None if self.past is None else Replayed.compare(self.past, record)


def recall(inputs: Sequence[str], folder: Path, params: dict[str, Any]) -> Recalled:
    """The call of a command that takes `--replay`, to be asked inside it.

    With `--replay` relative paths begin where they did then, until the command ends.

    Args:
        inputs: given now.
        folder: of the results.
        params: flags given now; `replay` is taken out.

    Raises:
        UsageError: see `_recalled`.
    """
    record = params.pop("replay")
    if record is not None:
        return click.get_current_context().with_resource(_recalled(record, inputs, folder, params))
    return Recalled(tuple(inputs), folder)


@contextmanager
def _recalled(record: Path, inputs: Sequence[str], folder: Path, params: dict[str, Any]) -> Iterator[Recalled]:
    """An earlier call with what is given now over it.

    Args:
        record: STAC item of the earlier run.
        inputs: given now; none: those of then.
        folder: of the results.
        params: flags given now.

    Raises:
        UsageError: the results would stand where those of then do, or settings come from two files.
        InputMissingError: the record or the model is not there.
        InputError, ConfigError: the record is no run's, or its settings mean nothing any more.
    """
    from geoseg.config import settings_of
    from geoseg.stories.past import Past
    from geoseg.stories.replay import asked_then, same_model

    if params.get("config") is not None:
        raise UsageError(f"--config {params['config']} and --replay {record} both bring settings: give one of the two.")
    if params.get("read__together") == "each":
        raise UsageError(f"--replay {record} repeats one scene: leave --each out.")
    past = Past.read(record)
    if folder.resolve() == record.resolve().parent:
        raise UsageError(f"-o {folder} holds the run to be repeated: choose another folder, to have both.")
    given = {name: _absolute(value) for name, value in params.items()}
    settings = settings_from(given, asked_then(settings_of(past.settings, f"settings of {record}"), past))
    folder, inputs = folder.absolute(), [str(_absolute(path)) for path in inputs]
    place = past.working_folder
    with chdir(place if place.is_dir() else Path.cwd()):
        if given.get("predict__model") is None:
            model = same_model(settings.predict.model, past)
            settings = replace(settings, predict=replace(settings.predict, model=model))
        yield Recalled(tuple(inputs) or past.call.inputs, folder, settings, past)


def _absolute(value: Any) -> Any:
    """A path that does not depend on the working folder, where the value is one."""
    if isinstance(value, Path) or (isinstance(value, str) and value and Path(value).exists()):
        return type(value)(Path(value).absolute())
    return value
