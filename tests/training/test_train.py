from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from chipmaker import recipe, write_recipe, write_set
from cli_kit import states

from geoseg.errors import ConfigError, DeviceError, ModelOutputError, OutputExistsError
from geoseg.io.record import verify_record
from geoseg.model.build import build
from geoseg.model.file import find_model, load_tensors, read_spec
from geoseg.stories.train import TrainResult, train
from geoseg.training.chips import load_chips
from geoseg.training.fit import fit, forward_of
from geoseg.training.recipe import read_recipe
from geoseg.training.score import confusion, figures, predict
from geoseg.training.task import Task

RECIPES = Path(__file__).parents[2] / "configs" / "train"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    folder = tmp_path_factory.mktemp("train")
    return folder, train(write_set(folder), folder / "tiny.safetensors")


def test_model_file_says_what_was_trained(trained: tuple[Path, TrainResult]) -> None:
    folder, result = trained
    spec = read_spec(result.path)
    assert spec == result.spec
    assert (spec.name, spec.band_names, spec.classes.codes) == ("tiny", ("nir", "red"), (10, 80))
    assert spec.margin % spec.stride == 0
    assert spec.margin > 0
    assert spec.metrics["chips"] == {"train": 4, "held_out": 4}
    assert spec.metrics["held_out"]["classes"]["trees"]["pixels"] > 0
    assert set(spec.metrics) >= {"inner", "held_out", "held_out_without_red", "margin_disagreement"}
    assert [path.name for path in folder.glob(".*")] == []


def test_network_rebuilt_from_the_file_gives_the_figures_of_its_spec(trained: tuple[Path, TrainResult]) -> None:
    folder, result = trained
    network = build(result.spec)
    network.load_state_dict(load_tensors(result.path))
    held_out = load_chips(read_recipe(folder / "recipe.yaml")).split("val")
    logits = predict(forward_of(network), held_out, result.spec.bands)
    found = figures(confusion(logits, held_out.labels, held_out.valid), result.spec.classes)
    assert found == result.spec.metrics["held_out"]


def test_the_trained_network_and_the_rebuilt_one_are_exchangeable(trained: tuple[Path, TrainResult]) -> None:
    folder, result = trained
    plan = read_recipe(folder / "recipe.yaml")
    network = fit(result.spec, load_chips(plan).split("train"), plan).network
    rebuilt = build(result.spec)
    rebuilt.load_state_dict(network.state_dict())
    pixels = np.random.default_rng(0).normal(size=(1, 2, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(forward_of(network)(pixels), forward_of(rebuilt)(pixels))


def test_same_seed_same_weights(trained: tuple[Path, TrainResult]) -> None:
    folder, result = trained
    torch.manual_seed(12345)  # whatever was drawn before does not matter
    again = train(folder / "recipe.yaml", folder / "again.safetensors")
    assert again.path.read_bytes() == result.path.read_bytes()
    state = torch.random.get_rng_state()
    plan = read_recipe(folder / "recipe.yaml")
    other = plan.model_copy(update={"fit": plan.fit.model_copy(update={"seed": 4})})
    chips = load_chips(plan).split("train")
    ours, theirs = (fit(result.spec, chips, p).network.state_dict() for p in (plan, other))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(torch.random.get_rng_state(), state)  # and the caller's generator is left alone


def test_training_learns_the_rule(tmp_path: Path) -> None:
    write_set(tmp_path)
    content = recipe()
    content["fit"] |= {"epochs": 25, "average": 0.0, "lr": 0.005, "loss": "ce+dice", "label_smoothing": 0.05}
    content["augment"] = {"crop": 32}
    content["model"]["baseline"] = {"name": "coin", "overall_accuracy": 0.5, "mean_iou": 0.33}
    result = train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")
    assert result.spec.metrics["held_out"]["overall_accuracy"] > 0.9
    assert not result.spec.demonstration


def test_a_model_below_its_baseline_is_a_demonstration(tmp_path: Path) -> None:
    write_set(tmp_path)
    content = recipe()
    content["model"]["baseline"] = {"name": "oracle", "overall_accuracy": 0.999, "mean_iou": 0.999}
    result = train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")
    assert result.spec.demonstration
    assert result.spec.metrics["baseline"]["name"] == "oracle"


def test_existing_output_is_kept(trained: tuple[Path, TrainResult], tmp_path: Path) -> None:
    folder, result = trained
    before = states(folder)
    again = train(folder / "recipe.yaml", result.path)
    assert again.up_to_date
    assert again.spec == result.spec
    write_set(tmp_path)
    content = recipe()
    content["fit"]["lr"] = 0.004
    other = write_recipe(tmp_path, content)
    with pytest.raises(OutputExistsError, match=r"weights\.recipe\.fit\.lr: 0\.003 → 0\.004.*--overwrite"):
        train(other, result.path)
    with pytest.raises(OutputExistsError, match="folder does not exist"):
        train(folder / "recipe.yaml", folder / "nowhere" / "tiny.safetensors")
    assert states(folder) == before
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        train(other, foreign)
    assert foreign.read_bytes() == b"mine"


def test_the_recipe_may_move_and_tells_no_path(trained: tuple[Path, TrainResult], tmp_path: Path) -> None:
    """What counts is what its files hold."""
    folder, result = trained
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert train(moved / "recipe.yaml", moved / result.path.name).up_to_date
    assert str(folder) not in (folder / "tiny.safetensors.json").read_text()
    first, second, *_ = sorted((moved / "labels").iterdir())
    first.write_bytes(second.read_bytes())
    with pytest.raises(OutputExistsError, match=r"weights\.data"):
        train(moved / "recipe.yaml", moved / result.path.name)


def test_beside_the_model_stand_log_and_pictures(trained: tuple[Path, TrainResult]) -> None:
    folder, result = trained
    names = {"tiny.safetensors", "tiny.train.csv", "tiny.curves.png", "tiny.confusion.png"}
    assert verify_record(folder / "tiny.safetensors.json") == []
    record = json.loads((folder / "tiny.safetensors.json").read_text())
    assert {entry["name"] for entry in record["geoseg:files"]} == names
    assert record["geoseg:metrics"]["held_out"] == result.spec.metrics["held_out"]
    log = (folder / "tiny.train.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["fit", "inner training places", "all training places"]
    for name in names:
        if name.endswith(".png"):
            assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_the_second_fit_ends_where_the_first_was_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.2, 0.6, 0.3, 0.4, 0.9])
    monkeypatch.setattr(Task, "_measured", lambda self: None if self.job.aside is None else next(told))
    write_set(tmp_path)
    content = recipe()
    content["fit"] |= {"epochs": 5, "patience": 2, "measure_every": 1, "keep": "best"}
    result = train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")
    fits = [line.split(",")[0] for line in (tmp_path / "tiny.train.csv").read_text().splitlines()[1:]]
    assert fits == ["inner training places"] * 4 + ["all training places"] * 2
    assert result.spec.metrics["epochs"] == 2


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    write_set(tmp_path)
    content = recipe()
    content["network"]["chip"] = 16  # no room for any margin
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="chips of 16 pixels"):
        train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")
    content = recipe()
    content["fit"] |= {"lr": 1e30, "epochs": 9}  # epochs of a recipe that must change are of no use
    with pytest.raises(ModelOutputError, match=r"fit\.lr"):
        train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_absent_device_is_an_error(tmp_path: Path) -> None:
    write_set(tmp_path)
    content = recipe()
    content["fit"]["device"] = "cuda:99"
    with pytest.raises(DeviceError, match="cuda:99"):
        train(write_recipe(tmp_path, content), tmp_path / "tiny.safetensors")


@pytest.mark.parametrize(
    ("name", "optional"),
    [("landcover", ("swir16", "swir22")), ("vegetation-aerial", ("nir",)), ("trees-aerial", ())],
    ids=str,
)
def test_bundled_model_has_the_figures_it_claims(name: str, optional: tuple[str, ...]) -> None:
    """The held-out chips, predicted by the file in the package, give its own card."""
    plan = read_recipe(RECIPES / f"{name}.yaml")
    if not plan.data.images.exists():
        pytest.skip(f"training chips are not here: {plan.data.images}")
    model = find_model(name)
    network = build(model.spec)
    network.load_state_dict(load_tensors(model.path))
    held_out = load_chips(plan).split("val")
    claimed = model.spec.metrics
    for without in dict.fromkeys(((), optional)):
        key = "_".join(["held_out", *(("without", *without) if without else ())])
        logits = predict(forward_of(network), held_out, model.spec.bands, without=frozenset(without))
        found = figures(confusion(logits, held_out.labels, held_out.valid), model.spec.classes)
        # Other machines round other pixels: figures agree to a tenth of a percent.
        assert found["overall_accuracy"] == pytest.approx(claimed[key]["overall_accuracy"], abs=1e-3)
        assert found["mean_iou"] == pytest.approx(claimed[key]["mean_iou"], abs=2e-3)
