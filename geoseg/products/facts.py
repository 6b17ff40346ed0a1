"""What a provider's metadata say of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from geoseg.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Content of one metadata file, as far as geoseg needs it."""

    file: str
    """Path within the product's tree."""
    scene_id: str | None
    detail: str
    """Completes the preset's title: processing baseline 05.09."""
    acquired: datetime | None
    gains: Mapping[str, tuple[float, float]]
    """Band id → (scale, offset) of reflectance = DN·scale + offset; bands without are not calibrated by this file."""
    notes: tuple[str, ...] = ()
    quality_rule: str | None = None
    """Rule of quality layers whose file does not tell their layout."""


def utc(text: str, where: str) -> datetime:
    """Time of ISO text; without a zone it is UTC, as in all products read here.

    Raises:
        InputError: not a time.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is not a time; the metadata are damaged.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def number(text: str | None, where: str) -> float:
    """A number of the metadata.

    Raises:
        InputError: missing, or not a number.
    """
    try:
        return float(text or "")
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is not a number; the metadata are damaged.") from error
