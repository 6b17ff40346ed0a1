"""INPUTs that stand for STAC items: a search, or a file that lists several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from geoseg.comma_lists import Numbers
from geoseg.errors import UsageError

if TYPE_CHECKING:
    from geoseg.settings import RunSettings

STAC = (
    click.option(
        "--sign", "read__sign", metavar="HOOK", help="Signs web addresses: planetary-computer, or module:function."
    ),
    click.option(
        "--stac", metavar="URL", help="Search this STAC API for the INPUTs; --datetime FIRST/LAST then says when."
    ),
    click.option("--collection", multiple=True, help="With --stac: a collection to search; may be repeated."),
    click.option("--bbox", type=Numbers(), metavar="W,S,E,N", help="With --stac: degrees."),
    click.option("--max-cloud", type=float, metavar="PERCENT", help="With --stac: at most this cloud cover."),
)
_WITH_STAC = ("collection", "bbox", "max_cloud")


def named_inputs(
    inputs: Sequence[str], settings: RunSettings, params: dict[str, Any], note: Any
) -> tuple[tuple[str, ...], RunSettings]:
    """The INPUTs, with a search and with lists of items taken apart, and the settings that are left for them.

    Args:
        inputs: as given.
        settings: `read.datetime` belongs to the search where there is one.
        params: of the command, with `STAC`'s.
        note: told what a search found.

    Raises:
        UsageError: neither INPUT nor --stac, or both.
        GeosegError: see `geoseg.io.stac_search`, `geoseg.products.stac_source`.
    """
    if params.get("stac") is not None:
        if inputs:
            raise UsageError(f"--stac searches for the inputs; leave {inputs[0]} out, or run it by itself.")
        return _searched(settings, params, note)
    idle = next((name for name in _WITH_STAC if params.get(name)), None)
    if idle is not None:
        raise UsageError(f"--{idle.replace('_', '-')} says what to search for: name the API with --stac URL.")
    if not inputs:
        raise UsageError("no INPUT given; name a raster, a product or a STAC item, or search with --stac URL.")
    from geoseg.products.stac_source import is_stac, items_in

    return tuple(one for text in inputs for one in (items_in(text) if is_stac(text) else (text,))), settings


def _searched(settings: RunSettings, params: dict[str, Any], note: Any) -> tuple[tuple[str, ...], RunSettings]:
    from geoseg.io.stac_search import StacSearch, search_items

    found = search_items(
        StacSearch(
            url=params["stac"],
            collections=params["collection"],
            bbox=params["bbox"],
            datetime=settings.read.datetime,
            max_cloud=params["max_cloud"],
        )
    )
    note(f"found {len(found)} STAC items:" if len(found) > 1 else "found one STAC item:")
    for item in found:
        note(f"  {item.line}")
    return tuple(item.href for item in found), replace(settings, read=replace(settings.read, datetime=None))
