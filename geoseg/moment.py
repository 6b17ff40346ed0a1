"""When an image was taken: an instant, a day, or the span of a composite. Never invented."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from geoseg.errors import UsageError

_EXIF = re.compile(r"(\d{4}):(\d\d):(\d\d)(?:[ T].*)?")
"""TIFF 6.0, tag 306: `YYYY:MM:DD HH:MM:SS`, without a time zone."""


@dataclass(frozen=True)
class Moment:
    """First and last instant, both with time zone; equal for a single exposure."""

    first: datetime
    last: datetime

    def __post_init__(self) -> None:
        if self.first.tzinfo is None or self.last.tzinfo is None:
            raise ValueError(f"{self.first} … {self.last} has no time zone.")
        if self.first > self.last:
            raise ValueError(f"{self.first} is after {self.last}.")

    @classmethod
    def at(cls, instant: datetime) -> Moment:
        """A single exposure."""
        return cls(instant, instant)

    @classmethod
    def on(cls, day: date) -> Moment:
        """Some time of a day (UTC)."""
        return cls(datetime.combine(day, time.min, UTC), datetime.combine(day, time(23, 59, 59), UTC))

    @classmethod
    def parse(cls, text: str) -> Moment:
        """`2018-08-15`, `2018-08-15T15:43:00Z` (without a zone: UTC), or two of them as `FIRST/LAST`.

        Raises:
            ValueError: any other form.
        """
        first, slash, last = text.strip().partition("/")
        begin = _parse_one(first)
        end = _parse_one(last) if slash else begin
        return cls(begin.first, end.last)

    @classmethod
    def of_tiff_tag(cls, text: str) -> Moment | None:
        """TIFFTAG_DATETIME as the day it names: the tag knows no time zone. None when it holds something else."""
        found = _EXIF.fullmatch(text.strip())
        if found is None:
            return None
        try:
            return cls.on(date(*map(int, found.groups())))
        except ValueError:  # 0000:00:00 is written where nobody knows
            return None

    @classmethod
    def around(cls, moments: Sequence[Moment | None]) -> Moment | None:
        """From the first to the last; unknown when one of them is."""
        known = [moment for moment in moments if moment is not None]
        if len(known) < len(moments):
            return None
        return cls(min(moment.first for moment in known), max(moment.last for moment in known))

    @property
    def day(self) -> date | None:
        """The day (UTC) when there is but one."""
        first, last = self.first.astimezone(UTC).date(), self.last.astimezone(UTC).date()
        return first if first == last else None

    @property
    def text(self) -> str:
        """What `parse` reads."""
        first, last = (_iso(instant) for instant in (self.first, self.last))
        if self == Moment.on(self.first.astimezone(UTC).date()):
            return first[:10]
        return first if first == last else f"{first}/{last}"


def asked_moment(text: str) -> Moment:
    """The user's `--datetime`.

    Raises:
        UsageError: no date.
    """
    try:
        return Moment.parse(text)
    except ValueError as error:
        raise UsageError(
            f"--datetime {text!r} is no ISO 8601 date or time ({error}); "
            f"write 2018-08-15, 2018-08-15T15:43:00Z, or FIRST/LAST."
        ) from error


def _parse_one(text: str) -> Moment:
    text = text.strip()
    if len(text) == len("2018-08-15"):
        return Moment.on(date.fromisoformat(text))
    instant = datetime.fromisoformat(text)
    return Moment.at(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
