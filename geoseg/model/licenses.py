"""May results be used commercially? What a model's licence and those of its training data say, and no lawyer.

Licences are SPDX expressions (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/); the spelling of
Creative Commons' own pages (`CC BY-NC 4.0`) is understood, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from geoseg.model.spec import ModelSpec

Answer = Literal["yes", "no", "unknown"]

_YES = re.compile(
    r"(apache-(1\.1|2\.0)|mit|mit-0|isc|zlib|bsl-1\.0|unlicense|0bsd|bsd-[1-4]-clause|artistic-2\.0"
    r"|cc0-1\.0|cc-pddc|cc-by(-sa)?-[1-4]\.\d|odbl(-1\.0)?|odc-by-1\.0|pddl(-1\.0)?|cdla-(permissive|sharing)-[12]\.0"
    r"|etalab-2\.0|ogl-uk-[1-3]\.0|dl-de-(by|zero)-2\.0"
    r"|(a|l)?gpl-[23]\.[01](-only|-or-later)?|mpl-2\.0|epl-[12]\.0|eupl-1\.[12])\+?"
)
"""Identifiers in lower case that allow commercial use, some of them on conditions (attribution, same licence)."""
_NO = re.compile(r"cc-by-nc(-sa|-nd)?-[1-4]\.\d|polyform-noncommercial-1\.0\.0|prosperity-3\.0\.0|non-?commercial")
_CREATIVE_COMMONS = re.compile(r"\bcc[ -]by((?:[ -](?:nc|nd|sa))*)[ -]([1-4]\.\d)\b", re.IGNORECASE)
_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")
_FORBIDDING = re.compile(
    r"\bnon-?commercial|\b(research|academic|educational) (use )?only\b|\bcc[ -]by-nc\b", re.IGNORECASE
)
_WORST = ("no", "unknown", "yes")


@dataclass(frozen=True)
class CommercialUse:
    """An answer and where it comes from."""

    answer: Answer
    reason: str


def commercial_use(license_text: str) -> Answer:
    """Whether a licence allows commercial use.

    Of `A AND B` the stricter counts, of `A OR B` the freer; an exception (`WITH`) only adds permissions.

    Args:
        license_text: SPDX expression.

    Returns:
        "unknown" for anything that is no expression of licences in geoseg's table.
    """
    return _answer(license_text) or "unknown"


def both_licenses(ours: str, theirs: str) -> str:
    """The licence of what was made from something under `theirs` and is given away under `ours`: both bind.

    What is no SPDX expression becomes a `LicenseRef-…` of its words, so that the whole stays an expression.
    """
    if theirs in ours.split(" AND "):
        return ours
    return " AND ".join(_operand(text) for text in (ours, theirs))


def _operand(text: str) -> str:
    spelled = _spdx(text)
    if _answer(spelled) is None:
        return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "none")
    return f"({spelled})" if " OR " in spelled.upper() else spelled


def _answer(text: str) -> Answer | None:
    """None: the text is no expression at all."""
    tokens = _TOKEN.findall(_spdx(text))
    try:
        answer, rest = _either(tokens)
    except (IndexError, RecursionError):
        return None
    return None if rest else answer


def commercial_use_of(spec: ModelSpec) -> CommercialUse:
    """Whether a model may be used commercially: its licence, unless some of its training data were given for less."""
    answer = commercial_use(spec.license)
    if answer != "yes":
        what = "forbids it" if answer == "no" else "is not in geoseg's table"
        return CommercialUse(answer, f"license {spec.license!r} {what}")
    for data in spec.training_data:
        terms = str(data.get("license", ""))
        if commercial_use(terms) == "no" or _FORBIDDING.search(terms):
            return CommercialUse("unknown", f"trained on {data.get('name', 'data')}, {terms}")
    return CommercialUse("yes", f"license {spec.license}")


def _spdx(text: str) -> str:
    """`CC BY-NC-SA 4.0` → `CC-BY-NC-SA-4.0`; anything else as it is."""
    return _CREATIVE_COMMONS.sub(lambda found: f"CC-BY{found[1].replace(' ', '-')}-{found[2]}", text)


def _either(tokens: list[str]) -> tuple[Answer, list[str]]:
    """`A AND B OR C`, and the tokens after it; AND binds closer."""
    answer, rest = _both(tokens)
    while rest and rest[0].upper() == "OR":
        other, rest = _both(rest[1:])
        answer = max(answer, other, key=_WORST.index)
    return answer, rest


def _both(tokens: list[str]) -> tuple[Answer, list[str]]:
    answer, rest = _one(tokens)
    while rest and rest[0].upper() == "AND":
        other, rest = _one(rest[1:])
        answer = min(answer, other, key=_WORST.index)
    return answer, rest


def _one(tokens: list[str]) -> tuple[Answer, list[str]]:
    """A licence, one WITH an exception, or an expression in parentheses.

    Raises:
        IndexError: the expression ends too early, or a parenthesis is not closed.
    """
    if tokens[0] == "(":
        answer, rest = _either(tokens[1:])
        if rest[0] != ")":
            raise IndexError
        return answer, rest[1:]
    name, rest = tokens[0].lower(), tokens[1:]
    if rest and rest[0].upper() == "WITH":
        rest = rest[2:] if rest[1] else rest
    if _NO.fullmatch(name):
        return "no", rest
    return ("yes" if _YES.fullmatch(name) else "unknown"), rest
