"""Law 2 for `--update`: a finished map brought up to date is the map of a full run, for any change and any tiling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import stencil_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_kit import predicted
from update_kit import forwarded, most_chips, touched_pairs

from geoseg.arrays import Chip
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.tiling.plan import plan_tiles
from geoseg.tiling.reads import digest

SHAPE = (2, 75, 91)


def image(seed: int = 0) -> np.ndarray:
    data = np.random.default_rng(seed).integers(1, 99, SHAPE).astype("uint8")
    data[:, 30:52, 20:60] = 0  # nodata
    return data


@st.composite
def changes(draw):
    """An image and its successor: a rectangle of other numbers, of nodata, or of what was nodata."""
    before = image()
    after = before.copy()
    row, col = draw(st.integers(0, SHAPE[1] - 1)), draw(st.integers(0, SHAPE[2] - 1))
    part = (slice(None), slice(row, row + draw(st.integers(1, 12))), slice(col, col + draw(st.integers(1, 12))))
    after[part] = draw(st.sampled_from([np.uint8(0), np.uint8(50), image(seed=1)[part]]))
    return before, after


def assert_updated(tmp_path, before, after, *, tiles, zoom=1.0, radius=2, **how):
    """Update = full run, and not a chip too many."""
    scenes = [
        open_scene([write_raster(tmp_path / name, data, nodata=0)])
        for name, data in (("before.tif", before), ("after.tif", after))
    ]
    model = stencil_model(tmp_path / "m.safetensors", radius)
    how["gsd"] = None if zoom == 1 else scenes[0].grid.gsd_m * zoom
    finished = predicted(scenes[0], model, tile=tiles[0], **how)
    full = predicted(scenes[1], model, tile=tiles[1], **how)
    with forwarded() as sent:
        updated = predicted(scenes[1], model, tile=tiles[2], finished=finished, **how)
    updated.assert_equal(full)
    for name in ("pixels", "masked_px", "nodata_px", "outside_px", "areas_m2"):
        assert getattr(updated.tally, name) == getattr(full.tally, name)
    np.testing.assert_array_equal(updated.reads.digests, full.reads.digests)
    assert updated.reads.seams.keys() == full.reads.seams.keys()
    if zoom == 1:
        spec = model.spec
        lattice = {"chip": spec.chip, "margin": how.get("margin", spec.margin), "stride": spec.stride}
        plan = plan_tiles(scenes[1].grid, **lattice, tile=tiles[2], blend=how.get("blend", "trim"))
        changed = (before != after).any(axis=0)
        assert updated.tally.chips <= most_chips(plan, changed)
        assert len(sent) <= updated.tally.chips + 2 * touched_pairs(plan, changed)
    return updated.tally.chips


@settings(max_examples=20)
@given(
    change=changes(),
    tiles=st.tuples(*[st.integers(1, 100)] * 3),
    blend=st.sampled_from(["trim", "taper"]),
    margin=st.integers(2, 11),
)
def test_any_change_with_any_tiles(tmp_path_factory, change, tiles, blend, margin):
    """All score layers, the seam number and the table of what was read, too."""
    assert_updated(tmp_path_factory.mktemp("update"), *change, tiles=tiles, blend=blend, margin=margin)


@settings(max_examples=12)
@given(
    change=changes(),
    tiles=st.tuples(*[st.integers(1, 100)] * 3),
    zoom=st.sampled_from([2.0, 0.5, 1.3]),
    blend=st.sampled_from(["trim", "taper"]),
)
def test_any_change_where_the_network_sees_other_pixels(tmp_path_factory, change, tiles, zoom, blend):
    assert_updated(tmp_path_factory.mktemp("zoom"), *change, tiles=tiles, zoom=zoom, blend=blend)


@pytest.mark.parametrize("how", [{}, {"blend": "taper"}, {"tta": "flip"}, {"zoom": 2.0}], ids=str)
def test_nothing_changed_nothing_is_predicted(tmp_path, how):
    assert assert_updated(tmp_path, image(), image(), tiles=(40, 1, 60), **how) == 0


MARGIN = 4
COL = 23  # the last column of the first cells, which their neighbors see in their margin


def of_cores(*chips: Chip) -> np.ndarray:
    """Digest of what lies within the margin."""
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return digest(
        *(
            Chip(
                chip.data[:, *inner],
                chip.present[:, *inner],
                chip.valid[inner],
                Window(0, 0, *reversed(chip.valid[inner].shape)),
            )
            for chip in chips
        )
    )


@pytest.mark.parametrize("blend", ["trim", "taper"])
def test_mutation_digest_of_the_core_turns_it_red(tmp_path, monkeypatch, blend):
    """Named mutation: a chip counts as unchanged when the pixels of its own cell are."""
    after = image()
    after[:, :, COL] = 98
    how = {"tiles": (40, 40, 40), "blend": blend, "margin": MARGIN, "radius": MARGIN}
    assert_updated(tmp_path, image(), after, **how)
    monkeypatch.setattr("geoseg.tiling.worker.digest", of_cores)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_updated(tmp_path, image(), after, **how)


def test_mutation_neighbors_left_out_of_a_taper_turn_it_red(tmp_path, monkeypatch):
    """Named mutation: tapered, only the changed chips themselves are predicted again."""
    after = image()
    after[:, 10:14, 10:14] = 98
    assert_updated(tmp_path, image(), after, tiles=(90, 90, 90), blend="taper")
    original = predicted.__globals__["TileJob"]

    class Lonely(original):
        def _asked(self, tile, reads):
            lit = original._lit_chips(self, tile, reads)
            yield from (item for item in lit if item[0] in reads.changed)

    monkeypatch.setitem(predicted.__globals__, "TileJob", Lonely)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_updated(tmp_path, image(), after, tiles=(90, 90, 90), blend="taper")


def test_what_was_found_is_taken_with_its_own_score_layers(tmp_path):
    """A finished map is believed: what it says where nothing changed is what comes out."""
    scene = open_scene([write_raster(tmp_path / "a.tif", image(), nodata=0)])
    model = stencil_model(tmp_path / "m.safetensors", 2)
    finished = predicted(scene, model)
    marked = {name: np.full_like(layer, 7) for name, layer in finished.scores.items()}
    other = replace(finished, index=np.full_like(finished.index, 2), scores=marked)
    updated = predicted(scene, model, tile=40, finished=other)
    assert (updated.index == 2).all()
    assert all((layer == 7).all() for layer in updated.scores.values())
    assert updated.tally.seam == finished.tally.seam
