"""The model card says what the spec says."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from builders import linear_spec

from geoseg.model.card import model_card
from geoseg.model.file import bundled, read_spec
from geoseg.model.spec import Architecture, Band

PAGES = (Path(__file__).parents[2] / "geoseg" / "model" / "bundled" / "README.md").read_text(encoding="utf-8")
PAGE = next(part for part in PAGES.split("\n## ") if part.startswith("landcover "))


def table(text):
    """First cell → the others, of every row of a Markdown page."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


@pytest.fixture(scope="module")
def landcover():
    return model_card(read_spec(bundled()["landcover"]), "landcover")


def test_it_agrees_with_the_page_of_the_bundled_models(landcover):
    ours, page = table(landcover), table(PAGE)
    low, high = re.match(r"(\d+) to (\d+) m", page["pixel size"][0]).groups()
    assert ours["pixel size"] == [f"{low} to {high} m"]
    numbers = re.match(r"(\d+), (\d+), (\d+) pixels", page["chip, stride, margin"][0]).group()
    assert ours["chip, stride, margin"] == [numbers]
    assert ours["temperature"] == [page["temperature"][0].partition(",")[0]]
    classes = page["classes"][0].partition(" (codes")[0]
    assert ours["classes"] == [classes]
    accuracy, mean, *ious = page["landcover, six bands"]
    assert f"overall {accuracy}, mean IoU {mean}" in landcover
    names = read_spec(bundled()["landcover"]).classes.names
    assert [f"{float(ours[name][1]):.2f}" for name in names] == ious
    forest = page["random forest on single pixels, six bands"]
    assert f"six bands: overall {forest[0]}, mean IoU {forest[1]}." in landcover
    assert "- built-up is weak: IoU 0.16" in landcover
    assert "doubling it changes 0.08% of the pixels" in landcover
    assert "WorldCover" in landcover
    assert "geoseg run scene.tif -m landcover -o out" in landcover


def test_every_heading_is_there(landcover):
    headings = re.findall(r"^#+ (.*)$", landcover, re.MULTILINE)
    assert headings == ["landcover 0.2", "Input", "Accuracy", "Training data", "Limits", "Use"]


def test_what_is_not_known_is_told_so():
    card = model_card(linear_spec(2, 2), "m.onnx")
    assert "Its maker does not say what it is for." in card
    assert "Not measured." in card
    assert "Not stated." in card
    assert "not known" in table(card)["b1"]
    assert "-m m.onnx" in card


def test_normalization_demonstration_license_and_doubtful_classes():
    bands = (
        Band(name="red", mean=1.0, std=2.0, scale=3.0, offset=4.0, optional=True),
        Band(name="nir", mean=5.0, std=6.0, scale=1e4, curve="log_sigmoid"),
    )
    rows = {"class 0": {"pixels": 5, "iou": 0.1, "f1": 0.2}, "class 1": {"pixels": 0, "not_assessable": "too | few"}}
    spec = replace(
        linear_spec(2, 2, bands=bands, license="CC-BY-NC-4.0", demonstration=True, default_mmu="9px"),
        metrics={"held_out": {"overall_accuracy": 0.5, "mean_iou": 0.1, "classes": rows}},
        architecture=Architecture(name="onnx", options={"network": {"name": "unet", "encoder": "resnet18"}}),
        training={"started_from": {"name": "theirs", "license": "MIT"}},
    )
    card = model_card(spec, "m")
    found = table(card)
    assert found["red"][0] == "((v · 3 + 4) − 1) / 2"
    assert found["nir"][0] == "sigmoid(5 · (ln(0.005 · (v · 10000 + 0) + 1) − 5) / 6 − 1)"
    assert found["network"] == ["ONNX graph of unet resnet18"]
    assert found["commercial use"][0].startswith("no (")
    assert found["minimum mapping unit"] == ["9px"]
    assert "A demonstration" in card
    assert "- class 0 is weak: IoU 0.10" in card
    assert "- class 1: not assessed (too | few)." in card
    assert r"too \| few" in card
    assert "- started from theirs, license MIT" in card
    assert "nir=…`" in card
    assert "red=…" not in card
