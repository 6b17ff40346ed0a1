"""Quality layers: what the codes and bits of cloud masks mean, in one vocabulary of reasons.

A *reason code* is the position of the reason in `REASONS` + 1; 0 is clear. Where several reasons hold at
a pixel, `PRIORITY` decides: *unusable* first, since a pixel that was never observed has no cloud, whatever
its other bits say; then from what hides the ground to what merely covers it: cloud, shadow, cirrus, snow.

    s2-scl          Sentinel-2 L2A scene classification (ESA, Sentinel-2 Products Specification Document)
    s2-classi       Sentinel-2 L1C MSK_CLASSI_B00, baseline 04.00 and later (same document)
    landsat-qa      Landsat Collection 2 QA_PIXEL (USGS, LSDS-1618 for 4-7, LSDS-1619 for 8-9)
    landsat-bqa-c1  Landsat Collection 1 BQA (USGS, Landsat 8 Data Users Handbook, LSDS-1574)
    landsat-bqa-c0  Landsat 8 BQA before the collections, until 2017 (same handbook, version 2)
    hls-fmask       HLS v2.0 Fmask (NASA, HLS Product User Guide)
    planet-udm2     Planet usable data mask, eight bands (Planet, Imagery Product Specifications)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg import quality_layouts as layouts
from geoseg.errors import UsageError

Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]
Stored = NDArray[Any]

REASONS = ("cloud", "shadow", "cirrus", "snow", "unusable")
DEFAULT_REASONS = ("cloud", "shadow", "cirrus", "unusable")
"""Snow is ground that one may well want to map: it must be asked for."""
PRIORITY = ("unusable", "cloud", "shadow", "cirrus", "snow")

_RANK = np.array([0, *(len(PRIORITY) - PRIORITY.index(reason) for reason in REASONS)], np.uint8)
_CODE = np.argsort(_RANK).astype(np.uint8)
_C2_NAMES = {"landsat-bqa-c2": "landsat-qa"}
"""What people call QA_PIXEL who come from BQA."""


@dataclass(frozen=True)
class QualityRule:
    """How one kind of quality layer is read."""

    name: str
    title: str
    """For people: what the layer is."""
    bands: tuple[int, ...]
    """1-based bands that it reads, in the order in which `flags` takes them."""
    flags: Callable[[Stored], Mapping[str, Bools]]
    """(band, row, col) stored integers → reason → (row, col), True where it holds; several may."""
    impossible: Callable[[Stored], Bools]
    """(band, row, col) stored integers → (row, col), True where this layout cannot hold such a number."""
    tells: tuple[str, ...]
    """Reasons that it can give, in the order of `REASONS`."""
    plain: bool = False
    """True when the layer itself names no reason: the caller does."""

    def reasons(self, values: Stored, asked: Collection[str] = REASONS) -> Codes:
        """Why pixels are not to be used.

        Args:
            values: (band, row, col) stored integers of `bands`.
            asked: reasons that count; the others are as good as clear.

        Returns:
            (row, col) reason codes; the first of `PRIORITY` among those that are asked for and hold.
        """
        flags = self.flags(values)
        codes = np.zeros(values.shape[1:], np.uint8)
        for reason in reversed(PRIORITY):
            if reason in asked and reason in flags:
                codes[flags[reason]] = code_of(reason)
        return codes


def code_of(reason: str) -> int:
    """Reason code of one of `REASONS`."""
    return REASONS.index(reason) + 1


def worst(layers: Iterable[Codes]) -> Codes:
    """One layer of reason codes from several of the same shape: at each pixel the first of `PRIORITY`."""
    return np.asarray(_CODE[reduce(np.maximum, (_RANK[codes] for codes in layers))])


_ALL = (
    QualityRule("s2-scl", "Sentinel-2 L2A scene classification", (1,), layouts.scl, layouts.no_scl, REASONS),
    QualityRule(
        "s2-classi",
        "Sentinel-2 L1C cloud and snow mask, MSK_CLASSI",
        (1, 2, 3),
        layouts.classi,
        layouts.no_classi,
        ("cloud", "cirrus", "snow"),
    ),
    QualityRule("landsat-qa", "Landsat Collection 2 QA_PIXEL", (1,), layouts.qa_pixel, layouts.no_qa_pixel, REASONS),
    QualityRule("landsat-bqa-c1", "Landsat Collection 1 BQA", (1,), layouts.bqa_c1, layouts.no_bqa_c1, REASONS),
    QualityRule(
        "landsat-bqa-c0",
        "Landsat 8 BQA from before the collections",
        (1,),
        layouts.bqa_c0,
        layouts.no_bqa_c0,
        ("cloud", "cirrus", "snow", "unusable"),
    ),
    QualityRule("hls-fmask", "HLS Fmask", (1,), layouts.fmask, layouts.no_fmask, REASONS),
    QualityRule(
        "planet-udm2",
        "Planet usable data mask, UDM2",
        tuple(range(1, 9)),
        layouts.udm2,
        layouts.no_udm2,
        REASONS,
    ),
)
RULES: Mapping[str, QualityRule] = MappingProxyType({rule.name: rule for rule in _ALL})


def is_rule(text: str) -> bool:
    """True when `rule_of` would take it for a rule, though perhaps a misspelled one."""
    return text in RULES or text in _C2_NAMES or text == "nonzero" or text.startswith("values=")


def rule_of(text: str, reason: str = "unusable") -> QualityRule:
    """The rule that a text names.

    Args:
        text: a name of `RULES` (or `landsat-bqa-c2` for `landsat-qa`), `nonzero`, or `values=3,8,9`: these
            stored values of the first band are not to be used.
        reason: what `nonzero` and `values=` mean; the others know it themselves.

    Raises:
        UsageError: none of these.
    """
    text = _C2_NAMES.get(text, text)
    if text in RULES:
        return RULES[text]
    if text == "nonzero":
        return _plain(text, "pixels other than 0", lambda v: v[0] != 0, reason)
    numbers = re.fullmatch(r"values=(-?\d+(?:,-?\d+)*)", text)
    if numbers is None:
        raise UsageError(f"mask rule {text!r} is unknown; use {', '.join(RULES)}, nonzero, or values=3,8,9.")
    values = [int(number) for number in numbers[1].split(",")]
    return _plain(text, f"pixels of value {numbers[1]}", lambda v: np.isin(v[0], values), reason)


def _plain(name: str, title: str, test: Callable[[Stored], Bools], reason: str) -> QualityRule:
    return QualityRule(name, title, (1,), lambda v: {reason: test(v)}, _nothing, (reason,), plain=True)


def _nothing(values: Stored) -> Bools:
    return np.zeros(values.shape[1:], bool)


@dataclass(frozen=True)
class MaskRequest:
    """One `--mask`."""

    file: str | None
    """None: the quality layers that come with the product."""
    rule: str | None
    """See `rule_of`; None: the product's own, or none needed (polygons)."""
    reasons: tuple[str, ...]
    """Reasons that count, in the order of `REASONS`."""

    def __post_init__(self) -> None:
        unknown = [reason for reason in self.reasons if reason not in REASONS]
        if unknown or not self.reasons:
            raise UsageError(f"mask reason {unknown[0] if unknown else ''!r} is unknown; use {', '.join(REASONS)}.")


def parse_mask(text: str) -> MaskRequest | None:
    """Read `auto[:REASONS]`, `none` or `FILE[:RULE][:REASONS]`, REASONS being words with commas between.

    Rule and reasons are looked for from the right, so that a path may hold colons; a file that is called like one
    of the words is given as `./cloud`.

    Returns:
        The request; None for `none`.

    Raises:
        UsageError: it is none of these.
    """
    if text == "none":
        return None
    if text == "auto":
        return MaskRequest(None, None, DEFAULT_REASONS)
    if text.startswith("auto:"):
        return MaskRequest(None, None, _ordered(text.removeprefix("auto:").split(",")))
    parts, rule = text.split(":"), None
    reasons: tuple[str, ...] = DEFAULT_REASONS
    if set(parts[-1].split(",")) <= set(REASONS):
        reasons = _ordered(parts.pop().split(","))
    if parts and is_rule(parts[-1]):
        rule = rule_of(parts.pop()).name
    if not any(parts):
        raise UsageError(f"--mask {text!r} names no layer; write auto[:REASONS], none, or FILE[:RULE][:REASONS].")
    return MaskRequest(":".join(parts), rule, reasons)


def _ordered(words: Sequence[str]) -> tuple[str, ...]:
    """In the order of `REASONS`, once each; unknown words stay, to be refused."""
    return (*(reason for reason in REASONS if reason in words), *(word for word in words if word not in REASONS))
