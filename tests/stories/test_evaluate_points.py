"""Maps against interpreted points: what the design makes of them, and what is said without one."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from builders import NORTH_UP
from cli_kit import codes_of
from cli_kit import geoseg as command
from zone_kit import THREE, class_raster

from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.stories.evaluate_points import NO_DESIGN, evaluate_points

NAMES = {1: "water", 2: "trees", 7: "bare"}
SHAPE = (50, 40)


def truth_and_map(folder: Path) -> tuple[np.ndarray, Path]:
    """Codes (row, col) of the ground, and a map that calls every fifth pixel trees and has two rows of nodata."""
    truth = np.full(SHAPE, 2)
    truth[:20] = 1
    truth[30:36, 5:25] = 7
    codes = truth.copy()
    codes.ravel()[::5] = 2
    codes[-2:] = 255
    return truth, class_raster(folder / "map.tif", codes)


def draw(folder: Path, *flags: object, name: str = "p.gpkg") -> Path:
    done = command("sample", folder / "map.tif", "-o", folder / name, *flags)
    assert done.code == 0, done.err
    return folder / name


def interpret(points: Path, truth: np.ndarray, *, of: str = "name", **changes: dict[int, object]) -> Path:
    """Fill in what the ground is at each point; changes by column, then by row of the table."""
    design = json.loads(points.with_name(f"{points.stem}.design.json").read_text(encoding="utf-8"))["points"]
    table = gpd.read_file(points)
    codes = truth[np.array(design["row"]), np.array(design["col"])].tolist()
    table["ref_class"] = [NAMES[code] if of == "name" else str(code) for code in codes]
    table["sure"] = np.full(len(table), None)
    for column, values in changes.items():
        for row, value in values.items():
            table.loc[row, column] = value
    table["sure"] = table["sure"].astype("boolean")
    table.to_file(points, layer="points")
    return points


def exact(truth: np.ndarray, codes: np.ndarray) -> dict[str, dict[str, float]]:
    """The map's own figures where it has a class, and areas in m²."""
    known = codes != 255
    out = {}
    for code, name in NAMES.items():
        there, mapped = (truth == code) & known, codes == code
        right = (there & mapped).sum()
        out[name] = {"users": right / mapped.sum(), "producers": right / there.sum(), "area": 100.0 * there.sum()}
    return out


def test_a_sample_of_every_pixel_gives_the_maps_own_figures(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    codes = codes_of(path)
    points = interpret(draw(tmp_path, "-n", 48 * 40), truth)
    report = evaluate_points(path, points)
    told = report.as_dict()
    assert told["design"] is True
    assert told["notes"][0] == "strata are the map's classes (Olofsson et al. 2014)"
    right = ((truth == codes) & (codes != 255)).sum() / (48 * 40)
    assert told["estimates"]["overall_accuracy"] == {
        "value": pytest.approx(right),
        "se": 0,
        "interval": [pytest.approx(right)] * 2,
    }
    assert told["estimates"]["total_m2"] == 48 * 40 * 100
    for name, figures in exact(truth, codes).items():
        found = told["estimates"]["classes"][name]
        assert found["users_accuracy"]["value"] == pytest.approx(figures["users"])
        assert found["producers_accuracy"]["value"] == pytest.approx(figures["producers"])
        assert found["area_m2"]["value"] == pytest.approx(figures["area"])


def test_a_sample_is_weighted_by_its_design(tmp_path) -> None:
    """Equal allocation: the plain share of right points differs from the accuracy, which is Σ W · share, by hand."""
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 120, "--allocation", "equal"), truth, of="code")
    report = evaluate_points(path, points, confidence=0.9)
    told = report.as_dict()
    matrix, pixels = np.array(told["matrix"]), np.array([s["pixels"] for s in told["strata"]])
    assert matrix.sum(axis=1).tolist() == [s["points"] for s in told["strata"]] == [40, 40, 40]
    within, weight = np.diag(matrix) / 40, pixels / pixels.sum()
    variance = weight**2 * (1 - 40 / pixels) * within * (1 - within) / 39
    overall = told["estimates"]["overall_accuracy"]
    assert overall["value"] == pytest.approx(weight @ within)
    assert overall["value"] != pytest.approx(np.trace(matrix) / 120, abs=1e-3)
    assert overall["se"] == pytest.approx(np.sqrt(variance.sum()))
    assert overall["interval"] == pytest.approx([overall["value"] + z * overall["se"] for z in (-1.644854, 1.644854)])
    lines = report.table().splitlines()
    assert lines[0].split()[:5] == ["class", "mapped", "reference", "mapped", "ha"]
    assert [line.split()[0] for line in lines[2:5]] == list(NAMES.values())
    assert f"overall accuracy {100 * overall['value']:.1f} % ± " in lines[5]
    assert "90 % confidence), 120 of 120 points used" in lines[5]


def test_another_map_of_the_grid_takes_the_designs_strata(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 48 * 40), truth)
    other_codes = np.where(np.arange(40) < 3, 255, np.roll(truth, 2, axis=0))
    other_codes[-2:] = 1
    other = class_raster(tmp_path / "other.tif", other_codes)
    told = evaluate_points(other, points).as_dict()
    assert "drawn on map.tif, another map on this grid" in told["notes"][0]
    assert "Stehman 2014" in told["notes"][0]
    inside = np.arange(50)[:, None] < 48
    valid = inside & (other_codes != 255)
    assert told["unmapped"] == 48 * 3
    assert "144 points lie where the map has no class" in told["notes"][-1]
    found = told["estimates"]
    assert found["overall_accuracy"]["value"] == pytest.approx((truth == other_codes)[valid].mean())
    water = (truth == 1) & inside
    assert found["classes"]["water"]["producers_accuracy"]["value"] == pytest.approx((other_codes == 1)[water].mean())
    assert found["classes"]["water"]["area_m2"]["value"] == pytest.approx(100 * water.sum())
    # The same map under another name is the same map.
    again = path.rename(tmp_path / "renamed.tif")
    assert "Olofsson" in evaluate_points(again, points).notes[0]


def test_missing_and_unsure_points_are_told_by_stratum(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = draw(tmp_path, "-n", 120, "--allocation", "equal")
    strata = np.array(json.loads((tmp_path / "p.design.json").read_text(encoding="utf-8"))["points"]["stratum"])
    water, trees = np.flatnonzero(strata == 1)[:3].tolist(), np.flatnonzero(strata == 2)[:2].tolist()
    interpret(points, truth, ref_class=dict.fromkeys(water), sure={trees[0]: False, trees[1]: True})
    report = evaluate_points(path, points)
    told = {s["name"]: [s["points"], s["used"], s["missing"], s["unsure"]] for s in report.as_dict()["strata"]}
    assert told == {"water": [40, 37, 3, 0], "trees": [40, 39, 0, 1], "bare": [40, 40, 0, 0]}
    assert report.as_dict()["strata"][0]["non_response"] == pytest.approx(3 / 40)
    assert (
        "water 3 of 40 (3 without an answer, 0 unsure); trees 1 of 40 (0 without an answer, 1 unsure)" in report.table()
    )
    kept = {s.name: s.used for s in evaluate_points(path, points, unsure="keep").strata}
    assert kept == {"water": 37, "trees": 40, "bare": 40}
    # Rows that are gone say nothing, too.
    table = gpd.read_file(points).drop(index=water + trees)
    table.to_file(points, layer="points")
    assert [s.missing for s in evaluate_points(path, points).strata] == [3, 2, 0]
    gpd.read_file(points).drop(index=table.index[:0]).assign(ref_class=None).to_file(points, layer="points")
    with pytest.raises(InputError, match="none of the 40 points of stratum 'water' can be used"):
        evaluate_points(path, points)


def test_collect_earth_online_comes_back_with_its_design(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 150), truth)
    ceo = tmp_path / "p.ceo.csv"
    classes = gpd.read_file(points)["ref_class"]
    rows = ceo.read_text(encoding="utf-8").splitlines()
    ceo.write_text(
        "\n".join([f"{rows[0]},Cover", *map(",".join, zip(rows[1:], classes, strict=True))]), encoding="utf-8"
    )
    first, second = evaluate_points(path, points).as_dict(), evaluate_points(path, ceo, field="cover").as_dict()
    assert first["estimates"] == second["estimates"]
    moved = ceo.rename(tmp_path / "answers.csv")
    assert evaluate_points(path, moved, field="Cover").estimates is None
    named = evaluate_points(path, moved, field="Cover", companion=tmp_path / "p.design.json")
    assert named.as_dict()["estimates"] == first["estimates"]


def test_without_a_design_points_are_only_counted(tmp_path) -> None:
    _, path = truth_and_map(tmp_path)
    at = [NORTH_UP @ (6.5, 3.5), NORTH_UP @ (7.5, 4.5), NORTH_UP @ (6.5, 33.5), NORTH_UP @ (99, 99), NORTH_UP @ (1, 1)]
    frame = gpd.GeoDataFrame(
        {"kind": ["water", "trees", "7", "water", None]}, geometry=gpd.points_from_xy(*zip(*at, strict=True)), crs=32618
    )
    frame.to_crs(4326).to_file(tmp_path / "field.geojson")
    report = evaluate_points(path, tmp_path / "field.geojson", field="kind")
    told = report.as_dict()
    assert told["design"] is False
    assert "estimates" not in told
    assert told["matrix"] == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert told["counts"]["classes"]["water"] == {"users_accuracy": 0.5, "producers_accuracy": 1.0}
    assert told["counts"]["classes"]["trees"] == {"users_accuracy": None, "producers_accuracy": 0.0}
    assert told["notes"] == [NO_DESIGN, "left out: 1 without an answer, 1 outside the map"]
    assert report.table().splitlines()[-3:] == ["2 of 3 points agree, 66.7 %", *told["notes"]]
    assert NO_DESIGN == "no design: figures describe these points only"


def test_answers_that_are_no_class_name_the_nearest(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 150), truth, ref_class={4: "Watr"})
    with pytest.raises(InputError, match=r"'Watr' is no class of the map; did you mean 'water'\?\. Correct it"):
        evaluate_points(path, points)
    interpret(points, truth, ref_class={4: "glacier"})
    with pytest.raises(InputError, match="'glacier' is no class of the map; it has water, trees, bare"):
        evaluate_points(path, points)


def test_all_agreed_is_not_certainty(tmp_path) -> None:
    truth, _ = truth_and_map(tmp_path)
    path = class_raster(tmp_path / "map.tif", truth)
    points = interpret(draw(tmp_path, "-n", 120, "--minimum", 20), truth)
    (told,) = [note for note in evaluate_points(path, points).notes if "± 0" in note]
    assert "bare (commission), " in told
    assert "trees (omission, so its area may be larger)" in told
    everything = interpret(draw(tmp_path, "-n", 2000, name="all.gpkg"), truth)
    assert not any("± 0" in note for note in evaluate_points(path, everything).notes)


def test_points_of_another_design_are_refused(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 150), truth)
    table = gpd.read_file(points)
    for change, message in (
        ({"point_id": table["point_id"] + 1}, "a point 151, the design has 1…150"),
        ({"point_id": np.minimum(table["point_id"], 149)}, "point 149 more than once"),
    ):
        table.assign(**change).to_file(points, layer="points")
        with pytest.raises(InputError, match=message):
            evaluate_points(path, points)
    table.drop(columns="point_id").to_file(points, layer="points")
    with pytest.raises(InputError, match="no column point_id"):
        evaluate_points(path, points)


def test_refusals(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 150), truth)
    moved = class_raster(tmp_path / "moved.tif", truth, transform=NORTH_UP @ NORTH_UP.translation(1, 0))
    with pytest.raises(InputError, match="is not on the grid that the sample was drawn on"):
        evaluate_points(moved, points)
    with pytest.raises(UsageError, match=r"confidence 95 is not between 0 and 1"):
        evaluate_points(path, points, confidence=95)
    with pytest.raises(UsageError, match="--unsure 'ask' is not one of drop, keep"):
        evaluate_points(path, points, unsure="ask")
    with pytest.raises(InputMissingError, match=r"sample design .* does not exist"):
        evaluate_points(path, points, companion=tmp_path / "x.json")
    (tmp_path / "p.design.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"sample design .* cannot be read"):
        evaluate_points(path, points)
    (tmp_path / "t.csv").write_text("ref_class\nwater\n", encoding="utf-8")
    with pytest.raises(InputError, match="neither a place"):
        evaluate_points(path, tmp_path / "t.csv")


def test_a_legend_makes_other_classes_of_the_same_strata(tmp_path) -> None:
    truth, path = truth_and_map(tmp_path)
    points = interpret(draw(tmp_path, "-n", 150), np.where(truth == 7, 2, truth))
    (tmp_path / "two.csv").write_text("code,name,from\n1,water,water\n2,trees,trees|bare\n", encoding="utf-8")
    report = evaluate_points(path, points, legend=str(tmp_path / "two.csv"))
    assert report.classes == ("water", "trees")
    assert "strata are not the map's classes" in report.notes[0]
    assert len(report.strata) == len(THREE) == 3
