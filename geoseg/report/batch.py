"""The page of a batch: what needs eyes first, then a card with a thumbnail for each finished scene."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from geoseg.console import format_duration, format_hectares, format_share
from geoseg.report.page import render

WORDS = {
    "done": "done",
    "skipped": "skipped",
    "failed": "failed",
    "running": "under way",
    "waiting": "still to do",
}

_OPENED = {".gpkg", ".tif", ".html", ".parquet", ".fgb", ".geojson", ".shp", ".png", ".csv"}


def batch_page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The HTML page.

    Args:
        document: as `geoseg.stories.batch_report.document_of` gives it.
        pictures: scene → its thumbnail, WebP.
    """
    scenes = document["scenes"]
    return render(
        "batch.html",
        title=f"Batch {document['batch']}",
        ended=_ended(document["ended"]),
        counts=[(WORDS[state], count, state) for state, count in document["counts"].items() if count],
        mpx=document["mpx"],
        polygons=document["polygons"],
        areas=_areas(document["area_ha"]),
        troubled=[_row(s) for s in scenes if s["state"] != "done"],
        cards=[_card(s, pictures.get(s["name"])) for s in scenes if s["state"] == "done"],
    )


def _ended(stamp: str | None) -> str | None:
    """A time of the ledger as people write it."""
    return None if stamp is None else f"{datetime.fromisoformat(stamp).astimezone(UTC):%Y-%m-%d, %H:%M} UTC"


def _row(scene: Mapping[str, Any]) -> dict[str, Any]:
    return {**scene, "word": WORDS[scene["state"]], "again": scene["done_again_because"]}


def _card(scene: Mapping[str, Any], picture: bytes | None) -> dict[str, Any]:
    areas = sorted(scene["area_ha"].items(), key=lambda item: -item[1])
    whole = sum(area for _, area in areas)
    return {
        "name": scene["name"],
        "picture": None if picture is None else "data:image/webp;base64," + base64.b64encode(picture).decode("ascii"),
        "mpx": scene["mpx"],
        "polygons": scene["polygons"],
        "took": format_duration(scene["seconds"]),
        "classes": ", ".join(f"{name}\N{NO-BREAK SPACE}{_share(area / whole)}" for name, area in areas[:3] if area)
        or "no class",
        "again": scene["done_again_because"],
        "warnings": scene["warnings"],
        "links": [(_suffix(name, scene["name"]), quote(name)) for name in scene["outputs"] if _shown(name)],
    }


def _shown(name: str) -> bool:
    place = PurePosixPath(name)
    return place.suffix in _OPENED and not place.name.endswith(".tiles.parquet")


def _suffix(name: str, scene: str) -> str:
    return PurePosixPath(name).name.removeprefix(f"{scene}.")


def _share(share: float) -> str:
    return format_share(share).replace(" ", "\N{NO-BREAK SPACE}")


def _areas(areas_ha: Mapping[str, float]) -> list[tuple[str, str, str, float]]:
    """Class, hectares, share in words and as a number, largest first."""
    whole = sum(areas_ha.values())
    ranked = sorted(areas_ha.items(), key=lambda item: -item[1])
    return [(name, format_hectares(a), format_share(a / whole), 100 * a / whole) for name, a in ranked if a]
