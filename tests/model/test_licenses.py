"""Commercial use: what licences say, alone, together, and over a model's training data."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import linear_spec
from hypothesis import given
from hypothesis import strategies as st

from geoseg.model import licenses
from geoseg.model.licenses import both_licenses, commercial_use, commercial_use_of

RANK = ("no", "unknown", "yes")
KNOWN = {"MIT": "yes", "CC-BY-NC-4.0": "no", "LicenseRef-ours": "unknown", "GPL-3.0-or-later": "yes"}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Apache-2.0", "yes"),
        ("apache-2.0", "yes"),
        ("BSD-3-Clause", "yes"),
        ("CC0-1.0", "yes"),
        ("CC-BY-4.0", "yes"),
        ("CC BY 4.0", "yes"),
        ("CC-BY-SA-4.0", "yes"),
        ("ODbL-1.0", "yes"),
        ("PDDL-1.0", "yes"),
        ("ODbL", "yes"),
        ("AGPL-3.0-only", "yes"),
        ("GPL-2.0+", "yes"),
        ("CC-BY-NC-4.0", "no"),
        ("CC BY-NC-SA 3.0", "no"),
        ("CC BY NC ND 4.0", "no"),
        ("CC-BY-ND-4.0", "unknown"),  # is a map of a model adapted material?
        ("non-commercial", "no"),
        ("noncommercial AND MIT", "no"),
        ("LicenseRef-Planet", "unknown"),
        ("proprietary", "unknown"),
        ("", "unknown"),
        ("MIT MIT", "unknown"),
        ("MIT AND", "unknown"),
        ("(MIT", "unknown"),
        ("MIT)", "unknown"),
        ("AND MIT", "unknown"),
        ("MIT AND CC-BY-NC-4.0", "no"),
        ("MIT OR CC-BY-NC-4.0", "yes"),
        ("LicenseRef-x AND CC-BY-NC-4.0", "no"),
        ("LicenseRef-x OR CC-BY-NC-4.0", "unknown"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "yes"),
        ("GPL-2.0-only WITH", "unknown"),
        ("CC-BY-NC-4.0 WITH something OR MIT", "yes"),
        ("CC-BY-NC-4.0 AND MIT OR MIT", "yes"),  # AND binds closer
        ("CC-BY-NC-4.0 AND (MIT OR MIT)", "no"),
        ("MIT OR MIT AND CC-BY-NC-4.0", "yes"),
        ("(((MIT)))", "yes"),
        ("(" * 5000 + "MIT", "unknown"),
    ],
)
def test_answers(text: str, answer: str) -> None:
    assert commercial_use(text) == answer


def expressions() -> st.SearchStrategy[tuple[str, str]]:
    """An expression and its answer, by the rule: the stricter of AND, the freer of OR."""

    def joined(parts: tuple[tuple[str, str], str, tuple[str, str]]) -> tuple[str, str]:
        (left, a), word, (right, b) = parts
        pick = min if word == "AND" else max
        return f"({left}) {word} ({right})", pick(a, b, key=RANK.index)

    atoms = st.sampled_from(sorted(KNOWN.items()))
    return st.recursive(atoms, lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(joined))


@given(expressions())
def test_expressions_follow_the_rule(pair: tuple[str, str]) -> None:
    assert commercial_use(pair[0]) == pair[1]


@given(expressions(), expressions())
def test_of_two_licenses_the_stricter_counts(ours, theirs) -> None:
    """The mutation: joined without parentheses, `A OR B AND C` would be as free as A."""
    assert commercial_use(both_licenses(ours[0], theirs[0])) == min(ours[1], theirs[1], key=RANK.index)


def test_the_law_of_two_licenses_fails_without_parentheses(monkeypatch) -> None:
    monkeypatch.setattr(licenses, "_operand", lambda text: text)
    assert commercial_use(both_licenses("MIT OR Apache-2.0", "CC-BY-NC-4.0")) == "yes"
    monkeypatch.undo()
    assert commercial_use(both_licenses("MIT OR Apache-2.0", "CC-BY-NC-4.0")) == "no"


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ("MIT", "MIT", "MIT"),
        ("MIT", "Apache-2.0", "MIT AND Apache-2.0"),
        ("MIT AND Apache-2.0", "Apache-2.0", "MIT AND Apache-2.0"),
        ("not stated", "CC BY-NC 4.0", "LicenseRef-not-stated AND CC-BY-NC-4.0"),
        ("MIT", "non-commercial", "MIT AND non-commercial"),
        ("MIT", "", "MIT AND LicenseRef-none"),
        ("MIT OR ISC", "CC0-1.0", "(MIT OR ISC) AND CC0-1.0"),
    ],
)
def test_both_licenses_bind(ours, theirs, both) -> None:
    assert both_licenses(ours, theirs) == both


@given(st.text(alphabet="()AND ORWITHMmit-1.0", max_size=40))
def test_nonsense_never_raises(text: str) -> None:
    assert commercial_use(text) in RANK


def test_training_data_are_part_of_the_answer() -> None:
    free = replace(linear_spec(2, 2), license="MIT", training_data=({"name": "chips", "license": "CC BY 4.0"},))
    assert (commercial_use_of(free).answer, commercial_use_of(free).reason) == ("yes", "license MIT")
    for terms in ("CC BY-NC 4.0", "images public domain, labels CC BY-NC-SA 4.0", "for non-commercial use"):
        bound = replace(free, training_data=(*free.training_data, {"name": "Spots", "license": terms}))
        assert (commercial_use_of(bound).answer, commercial_use_of(bound).reason) == (
            "unknown",
            f"trained on Spots, {terms}",
        )
    forbidden = commercial_use_of(replace(free, license="CC-BY-NC-4.0"))
    assert (forbidden.answer, forbidden.reason) == ("no", "license 'CC-BY-NC-4.0' forbids it")
    strange = commercial_use_of(replace(free, license=""))
    assert (strange.answer, strange.reason) == ("unknown", "license '' is not in geoseg's table")
