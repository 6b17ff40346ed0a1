"""When an image was taken: what is said is kept, what is not said is not made up."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import UsageError
from geoseg.moment import Moment, asked_moment

INSTANTS = st.timedeltas(timedelta(0), timedelta(days=51_000)).map(
    lambda since: datetime(1960, 1, 1, tzinfo=UTC) + since
)


@given(INSTANTS, st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_text_is_what_parse_reads(first, length):
    """Mutation: `_iso` cutting fractions of seconds."""
    moment = Moment(first, first + length)
    assert Moment.parse(moment.text) == moment


def test_a_day_stays_a_day():
    moment = Moment.parse("2018-08-15")
    assert (moment.text, moment.day) == ("2018-08-15", date(2018, 8, 15))
    assert (moment.first, moment.last) == (
        datetime(2018, 8, 15, tzinfo=UTC),
        datetime(2018, 8, 15, 23, 59, 59, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("2018-08-15T15:43:00Z", datetime(2018, 8, 15, 15, 43, tzinfo=UTC)),
        ("2018-08-15T15:43:00", datetime(2018, 8, 15, 15, 43, tzinfo=UTC)),
        ("2018-08-15T15:43:00+02:00", datetime(2018, 8, 15, 15, 43, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_an_instant(text, first):
    assert Moment.parse(text) == Moment.at(first)


def test_a_composite_of_several_days_has_no_day():
    moment = Moment.parse("2018-06-01/2018-08-31")
    assert (moment.day, moment.text) == (None, "2018-06-01T00:00:00Z/2018-08-31T23:59:59Z")


@pytest.mark.parametrize("text", ["yesterday", "2018-13-01", "2018-08-31/2018-06-01", "", "15.08.2018", "/"])
def test_other_words_are_refused_with_the_form(text):
    with pytest.raises(UsageError, match="2018-08-15T15:43:00Z"):
        asked_moment(text)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("2018:08:15 15:43:00", "2018-08-15"),
        ("2018:08:15", "2018-08-15"),
        ("0000:00:00 00:00:00", None),
        ("", None),
        ("Wed Aug 15 2018", None),
    ],
)
def test_the_tiff_tag_names_a_day(tag, text):
    found = Moment.of_tiff_tag(tag)
    assert (found and found.text) == text
