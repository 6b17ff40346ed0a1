"""What configs/errors.md quotes is what geoseg says, and every exit code has a place there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg import errors
from geoseg.errors import GeosegError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "configs" / "errors.md").read_text(encoding="utf-8")
CODES = {c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GeosegError)}
QUOTED = sorted(set(re.findall(r"`([^`]*… ?[^`]*|self-check[^`]*|the Dask scheduler has[^`]*)`", PAGE)) - {"…"})


def texts(source: str) -> Iterator[str]:
    """The texts of a module, … for what they are filled with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def said() -> list[str]:
    return [text for path in (ROOT / "geoseg").rglob("*.py") for text in texts(path.read_text(encoding="utf-8"))]


def is_said(quote: str, said: list[str]) -> bool:
    pattern = re.compile(".*".join(map(re.escape, quote.split("…"))))
    return any(pattern.search(text) for text in said)


def test_there_is_much_to_quote() -> None:
    assert len(QUOTED) >= 25


@pytest.mark.parametrize("quote", QUOTED)
def test_what_is_quoted_is_said(quote, said) -> None:
    assert is_said(quote, said)


def test_mutation_an_invented_message_turns_it_red(said) -> None:
    assert not is_said("… is too beautiful to be read", said)


def test_every_exit_code_is_explained() -> None:
    heads = " ".join(re.findall(r"^## (.*?):", PAGE, re.MULTILINE))
    explained = set(map(int, re.findall(r"\d+", heads)))
    assert explained == CODES | {3, 129, 130, 143}
