"""STAC items in a file or at an address: an item collection, a static collection or catalog, or one item."""

from __future__ import annotations

from geoseg.manifest.entry import Entry, Listing
from geoseg.manifest.names import usable
from geoseg.products.stac_source import item_name, items_in


def read_stac(source: str) -> Listing:
    """An entry for each item; what it says of itself is read when its turn comes.

    Raises:
        InputMissingError, InputError, PolicyError, TemporaryError: the document cannot be had, or holds no items.
    """
    items = items_in(source)
    return Listing(entries=[Entry(inputs=(one,), where=one, name=usable(item_name(one))) for one in items])
