"""`geoseg verify`: are finished results still what they were?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.door import show
from geoseg.errors import InputError
from geoseg.options import COMMON, with_options

if TYPE_CHECKING:
    from geoseg.stories.verify import VerifyReport

_LISTED = 20


@click.command()
@click.argument("places", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_options(COMMON)
def verify(places: tuple[Path, ...], as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Check every recorded file of finished results, byte for byte; 65 when one is damaged.

    DIR is a folder, looked through with all folders in it, or one record (NAME.json). Files that no record names, work
    folders and locks are told, too; they are no damage.
    """
    from geoseg.stories.verify import verify as story

    report = story(places)
    show(lambda: asdict(report) | {"ok": report.ok}, lambda: _lines(report), as_json=as_json)
    raise SystemExit(0 if report.ok else InputError.exit_code)


def _lines(report: VerifyReport) -> list[str]:
    unnamed = [f"not recorded: {path}" for path in report.unnamed[:_LISTED]]
    more = len(report.unnamed) - len(unnamed)
    state = "all as written" if report.ok else f"{len(report.damaged)} damaged"
    return [
        *(f"damaged: {line}" for line in report.damaged),
        *(f"unfinished: {line}" for line in report.unfinished),
        *unnamed,
        *([f"and {more} more files that no record names"] if more else []),
        f"{report.files} files of {len(report.records)} results, {report.bytes / 1e6:,.1f} MB: {state}",
    ]
