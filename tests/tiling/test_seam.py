"""The seam number: what two neighboring chips say about the pixels that both see."""

from __future__ import annotations

import math
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from builders import NORTH_UP, UTM, border_model, unet_model, write_raster
from hypothesis import given
from hypothesis import strategies as st
from prediction_kit import predicted
from pyproj import CRS

from geoseg.grid import Grid, Window
from geoseg.io.compose import open_scene
from geoseg.settings import ReadSettings
from geoseg.tiling import seam as seam_module
from geoseg.tiling.plan import plan_tiles
from geoseg.tiling.seam import (
    CHIPS_PER_PAIR,
    MOST_PAIRS,
    USUAL_SHARE,
    Pair,
    Seam,
    count_differences,
    pairs_by_lot,
    possible_pairs,
    sampled_pairs,
    seam_zones,
)


@pytest.mark.parametrize(
    ("radius", "stride", "at_seam", "at_edge"),
    [
        (2, 1, 0, 1),  # a good margin: only the trimmed edge is wrong
        (3, 4, 0.5, 1),  # two pixels on either side of the seam: each chip is wrong at depth 2, not at 3, 4, 5
        (4, 4, 1, 1),  # each chip is wrong where it is trimmed, the other right
        (1, 4, 0, 0.5),  # of the two outermost pixels one is wrong
    ],
)
def test_by_hand(tmp_path, radius, stride, at_seam, at_edge):
    """A network that is wrong at depth < radius from its chip's edge and right elsewhere; margin 4."""
    scene = open_scene([write_raster(tmp_path / "ones.tif", np.ones((70, 90), "uint8"))])
    model = border_model(tmp_path / "m.safetensors", radius, stride=stride)
    seam = predicted(scene, model).tally.seam
    assert (seam.at_seam, seam.at_edge) == (at_seam, at_edge)
    width = 2 if stride == 4 else 1
    assert (seam.seam_px, seam.edge_px) == (2 * width * 24, 2 * width * 24)


@pytest.mark.parametrize("blend", ["trim", "taper"])
def test_law_2_the_number_is_the_same_for_every_tiling(tmp_path, blend, monkeypatch):
    """An AOI and nodata leave pairs half empty."""
    monkeypatch.setattr(seam_module, "CHIPS_PER_PAIR", 1)
    data = np.random.default_rng(0).integers(1, 99, (4, 300, 333)).astype("uint8")
    data[:, 130:200, :180] = 0
    path = write_raster(tmp_path / "s.tif", data, nodata=0, names=["b1", "b2", "b3", "b4"])
    west, north = NORTH_UP.c, NORTH_UP.f
    shape = shapely.box(west + 300, north - 2700, west + 2000, north - 250)
    gpd.GeoDataFrame(geometry=[shape], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    scene = open_scene([path], ReadSettings(aoi=tmp_path / "aoi.gpkg"))
    model = unet_model(tmp_path / "unet.safetensors")
    found = [predicted(scene, model, tile=tile, blend=blend).tally.seam for tile in (1, 128, 200, 1000)]
    assert found[0].seam_px > 1000
    assert 0 < found[0].at_seam < found[0].at_edge
    assert found == [found[0]] * 4


def test_mutation_pairs_chosen_by_the_tile_turn_it_red(tmp_path, monkeypatch):
    """Named mutation: pairs are those of chips of one tile."""
    scene = open_scene([write_raster(tmp_path / "ones.tif", np.ones((96, 96), "uint8"))])
    model = border_model(tmp_path / "m.safetensors", 2)
    one = predicted(scene, model).tally.seam
    assert predicted(scene, model, tile=24).tally.seam == one
    original = seam_module.pairs_of

    def of_one_tile(plan, tile):
        own = {(cell.row, cell.col) for cell in tile.cells}
        return [pair for pair in original(plan, tile) if (pair.second.row, pair.second.col) in own]

    for module in ("worker", "reads"):
        monkeypatch.setattr(f"geoseg.tiling.{module}.pairs_of", of_one_tile)
    assert predicted(scene, model, tile=24).tally.seam != one


def plan_of(height, width, **more):
    return plan_tiles(
        Grid(CRS(UTM), NORTH_UP, width, height), **({"chip": 32, "margin": 4, "stride": 4, "tile": 1} | more)
    )


@given(height=st.integers(1, 700), width=st.integers(1, 700), tile=st.integers(1, 300))
def test_the_sample_is_made_of_neighbors_and_small(height, width, tile):
    plan = plan_of(height, width, tile=tile)
    pairs = list(sampled_pairs(plan))
    rows, cols = plan.rows.count, plan.cols.count
    assert pairs == list(sampled_pairs(plan_of(height, width)))
    assert len(set(pairs)) == len(pairs)
    assert len(pairs) == min(MOST_PAIRS, max(1, rows * cols // CHIPS_PER_PAIR)) or rows * cols < 3
    for row, col, below in pairs:
        assert 0 <= row < rows - below
        assert 0 <= col < cols - (not below)


LOTS = 64


def over_all_lots(plan, share: float, draw) -> int:
    """Pairs of as many scenes of one plan as there are lots."""
    return sum(draw(plan, share, lot / LOTS) for lot in range(LOTS))


@given(height=st.integers(25, 400), width=st.integers(25, 400), share=st.integers(0, 64).map(lambda part: part / 64))
def test_the_scenes_of_a_batch_are_sampled_like_one_raster_of_their_size(height, width, share):
    """Over evenly spread lots the pairs are, exactly, the share of all chips that was asked for, two chips each.

    Shares and lots are binary fractions, so that no sum is rounded. Named mutation, applied: no lot is drawn.
    """
    plan = plan_of(height, width)
    chips = LOTS * plan.rows.count * plan.cols.count
    assert over_all_lots(plan, share, pairs_by_lot) == math.floor(chips * share / 2)
    drawn = [pairs_by_lot(plan, share, lot / LOTS) for lot in range(LOTS)]
    assert drawn == sorted(drawn)
    assert max(drawn) - min(drawn) <= 1


def test_mutation_without_a_lot_small_scenes_are_never_sampled():
    plan = plan_of(60, 60)
    assert plan.rows.count * plan.cols.count == 9
    unlucky = over_all_lots(plan, 0.125, lambda plan, share, _: pairs_by_lot(plan, share, 0.0))
    assert (unlucky, over_all_lots(plan, 0.125, pairs_by_lot)) == (0, 36)


def test_the_usual_share_is_that_of_a_large_raster_of_its_own():
    plan = plan_of(700, 700)
    chips = plan.rows.count * plan.cols.count
    assert chips > 8 * CHIPS_PER_PAIR
    share = float(USUAL_SHARE.removesuffix("%")) / 100
    assert pairs_by_lot(plan, share, 0.0) == chips // CHIPS_PER_PAIR == len(list(sampled_pairs(plan)))


@given(height=st.integers(1, 200), width=st.integers(1, 200), pairs=st.integers(0, 300), tile=st.integers(1, 300))
def test_as_many_pairs_as_asked_for_and_possible(height, width, pairs, tile):
    plan = replace(plan_of(height, width, tile=tile), seam_pairs=pairs)
    found = list(sampled_pairs(plan))
    assert len(found) <= min(pairs, possible_pairs(plan))
    assert bool(found) == bool(min(pairs, possible_pairs(plan)))
    assert found == list(sampled_pairs(replace(plan_of(height, width), seam_pairs=pairs)))


def test_nothing_to_compare(tmp_path):
    assert list(sampled_pairs(plan_of(20, 20))) == []
    assert list(sampled_pairs(plan_of(90, 90, margin=0))) == []
    scene = open_scene([write_raster(tmp_path / "one.tif", np.ones((90, 90), "uint8"), nodata=1)])
    found = predicted(scene, border_model(tmp_path / "m.safetensors", 2)).tally
    assert (found.seam, found.chips) == (None, 0)


@given(
    height=st.integers(25, 90),
    width=st.integers(25, 90),
    margin=st.sampled_from([1, 2, 4, 8, 16]),
    stride=st.sampled_from([1, 2, 8]),
    gsd=st.sampled_from([None, 20.0, 5.0]),
)
def test_zones_lie_where_both_chips_see(height, width, margin, stride, gsd):
    chip, margin = 8 * stride + 2 * margin * stride, margin * stride
    plan = plan_of(height, width, chip=chip, margin=margin, stride=stride, network_gsd_m=gsd)
    for row in range(plan.rows.count):
        for col in range(plan.cols.count):
            for down, right in ((1, 0), (0, 1)):
                if row + down == plan.rows.count or col + right == plan.cols.count:
                    continue
                pair = Pair(plan.cell(row, col), plan.cell(row + down, col + right))
                zones = seam_zones(plan, pair)
                assert len(set(zones)) == len(zones) or margin == 1
                for zone in zones:
                    for window in (pair.first.read, pair.second.read, plan.network_grid.window):
                        assert zone.intersection(window) == zone


def test_counting_by_hand():
    """Cells of 24, chips of 32: the chips share columns 20 to 27; stride 4, so two columns a zone."""
    plan = plan_of(24, 48)
    pair = Pair(plan.cell(0, 0), plan.cell(0, 1))
    zones = seam_zones(plan, pair)
    assert [(z.col_off, z.col_end, z.row_off, z.row_end) for z in zones] == [
        (22, 26, 0, 24),
        (20, 22, 0, 24),
        (26, 28, 0, 24),
    ]
    seen = Window.around(zones)
    assert seen == Window(20, 0, 8, 24)
    first, second, valid = np.zeros(seen.shape, int), np.zeros(seen.shape, int), np.ones(seen.shape, bool)
    first[5, 23 - 20] = 1  # beside the seam
    second[6, 22 - 20] = 1
    second[7, 20 - 20] = 1  # at the second chip's edge
    valid[6, :] = False
    counts = count_differences(seen, zones, first, second, valid)
    assert counts.tolist() == [4 * 23, 1, 4 * 23, 1]
    assert Seam.of(counts.tolist()) == Seam(at_seam=1 / 92, at_edge=1 / 92, seam_px=92, edge_px=92)
    assert Seam.of([0, 0, 3, 1]) is None
    assert Seam.of([4, 1, 0, 0]) == Seam(at_seam=0.25, at_edge=None, seam_px=4, edge_px=0)
