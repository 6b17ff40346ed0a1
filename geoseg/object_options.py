"""Command-line options of objects; a part of `geoseg.options.VECTOR`."""

from __future__ import annotations

import click

from geoseg.comma_lists import Words

OBJECTS = (
    click.option(
        "--things",
        "vector__things",
        type=Words(),
        help="Classes whose regions are objects, or none.  [default: as the map says]",
    ),
    click.option(
        "--split",
        "vector__split",
        help="Objects: components · watershed · scores · scores:CLASS (around the peaks of a class's score, as tree "
        "crowns) · boundary:CLASS  [default: components]",
    ),
    click.option("--split-radius", "vector__split_radius", metavar="PX|M", help="Reach of --split: 16px, 10m."),
    click.option(
        "--split-depth", "vector__split_depth", metavar="PX|M", help="What divides two maxima: 1px; scores: 0.05."
    ),
    click.option(
        "--split-apart", "vector__split_apart", metavar="PX|M", help="scores:CLASS: peaks are farther apart than 3px."
    ),
    click.option(
        "--split-smooth",
        "vector__split_smooth",
        metavar="PX|M",
        help="scores:CLASS: how far the score is smoothed: 2px.",
    ),
    click.option("--split-score", "vector__split_score", help="scores:CLASS: least smoothed score of a peak: 0.3."),
)
