"""How a batch goes about its scenes: every option and default; and how shards, times and shares are spelled."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import UsageError
from geoseg.spelling import Strict, share_of

_SHARD = re.compile(r"(\d+)/(\d+)")
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@dataclass(frozen=True, kw_only=True)
class BatchSettings(Strict):
    """What a batch takes besides its scenes."""

    tries: int = 5
    """How often a scene is begun, where temporary errors or the end of its process came between, until it is left."""
    backoff_s: float = 10.0
    """Pause after a temporary error; twice as long after the next."""
    lease_s: float = 120.0
    """A process that gives no sign of life for so long loses its scene to another one."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): every n-th scene, from the i-th on."""
    max_runtime_s: float | None = None
    """No scene is begun later, and one that is under way stops at its next tile, to be resumed."""
    metrics: Path | None = None
    """Where the metrics go; None: `metrics.prom` in the batch's folder."""

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UsageError(f"--tries {self.tries} must be at least 1.")
        for flag, value in (("--backoff", self.backoff_s), ("--lease", self.lease_s)):
            if not 0 < value < math.inf:
                raise UsageError(f"{flag} {value:g} must be seconds, more than 0.")
        number, of = self.shard
        if not 1 <= number <= of:
            raise UsageError(f"--shard {number}/{of}: the first of {of} is 1/{of}, the last {of}/{of}.")
        if self.max_runtime_s is not None and not 0 < self.max_runtime_s < math.inf:
            raise UsageError(f"--max-runtime {self.max_runtime_s:g} must be seconds, more than 0.")


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` → (2, 8).

    Raises:
        UsageError: it is no such text.
    """
    found = _SHARD.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--shard {text!r}: write the second of eight parts as 2/8.")
    return int(found[1]), int(found[2])


def parse_span(text: str) -> float:
    """Seconds in `8h`, `1h30m`, `90m`, `45s` or `3600`.

    Raises:
        UsageError: it is no such text.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise UsageError(f"--max-runtime {text!r}: write it as 8h, 1h30m, 90m or seconds.")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def parse_share(value: object) -> float:
    """`30%` or 0.3 → 0.3.

    Raises:
        UsageError: it is no share, 0 to 1.
    """
    return share_of(value, "min_clear")
