"""Option values that are lists, separated by commas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _WordsType = click.ParamType[tuple[str, ...]]
    _NumbersType = click.ParamType[tuple[float, ...]]
else:  # click's types became generic after 8.3
    _WordsType = _NumbersType = click.ParamType


class Words(_WordsType):
    """Comma-separated words."""

    name = "WORD,…"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> tuple[str, ...]:
        """Split at commas; empty parts are dropped."""
        return value if isinstance(value, tuple) else tuple(w.strip() for w in str(value).split(",") if w.strip())


class Numbers(_NumbersType):
    """Comma-separated numbers."""

    name = "NUMBER,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Split at commas; each part must be a number."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number or a comma-separated list of numbers.", param, ctx)
