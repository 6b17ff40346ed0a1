"""`--log-format` and `-v`, which all commands share."""

from __future__ import annotations

from typing import Any

import click

from geoseg import log


def asks_json(words: list[str]) -> bool:
    """Whether a call asks for JSON lines: known before its other words are, which may be wrong."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return any(
        word == "--log-format=json" or (word, following) == ("--log-format", "json") for word, following in pairs
    )


def _more(_ctx: click.Context, _param: click.Parameter, asked: bool) -> Any:
    if asked:
        log.configure(verbose=True)


LOGGING = (
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        expose_value=False,
        help="Progress, warnings, errors: lines for people or JSON lines.  [default: text]",
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_more,
        help="Tell more: what was understood, tiles, times.",
    ),
)
