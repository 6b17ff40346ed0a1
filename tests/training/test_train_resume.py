"""Law 8 for trainings: whenever one is stopped, the same command goes on and writes the same model file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from chipmaker import recipe, write_recipe, write_set
from cli_kit import Done, geoseg, names_in
from fork_kit import Forked

from geoseg.io.record import verify_record

EPOCHS = 3
FILES = {"tiny.safetensors", "tiny.safetensors.json", "tiny.train.csv", "tiny.curves.png", "tiny.confusion.png"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with an average, augmentation and batches read ahead."""
    folder = tmp_path_factory.mktemp("plan")
    write_set(folder)
    content = recipe()
    content["fit"] |= {"epochs": EPOCHS, "measure_every": 2, "readers": 1}
    content["augment"] |= {"rotate": 20, "mix": 0.5}
    return write_recipe(folder, content)


@pytest.fixture(scope="module")
def undisturbed(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train(plan, folder)
    assert done.code == 0, done.err
    assert names_in(folder) == FILES
    return (folder / "tiny.safetensors").read_bytes()


def train(plan: Path, folder: Path, *more: str) -> Done:
    return geoseg("train", plan, "-o", folder / "tiny.safetensors", *more)


def stopped(forked: Forked, plan: Path, folder: Path, failpoint: str) -> Done:
    """How a training of its own process ended that stops itself."""
    return forked.run("train", plan, "-o", folder / "tiny.safetensors", failpoint=failpoint)


def assert_goes_on(plan: Path, folder: Path, undisturbed: bytes, finished: int) -> None:
    """The next run begins after the finished epochs of both fits and ends with the same bytes."""
    done = train(plan, folder)
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if ": epoch " in line]
    assert len(told) == 2 * EPOCHS - finished
    assert (folder / "tiny.safetensors").read_bytes() == undisturbed
    assert names_in(folder) == FILES  # no lock, no work folder
    assert verify_record(folder / "tiny.safetensors.json") == []


KILLS = [("epoch:before-rename:5", 4), ("publish:staged", 6)]
SLOW_KILLS = [
    ("epoch", 1),
    ("epoch:2", 2),
    ("epoch:3", 3),
    ("epoch:4", 4),
    ("epoch:6", 6),
    ("publish:between-renames", 6),
]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("failpoint", "finished"), [*KILLS, *(pytest.param(*kill, marks=pytest.mark.slow) for kill in SLOW_KILLS)]
)
def test_a_killed_training_goes_on_to_the_same_model_file(
    forked, plan, undisturbed, tmp_path, failpoint, finished
) -> None:
    assert stopped(forked, plan, tmp_path, failpoint).code == -9
    assert not (tmp_path / "tiny.safetensors.json").exists()
    assert_goes_on(plan, tmp_path, undisturbed, finished)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("name", "code", "says"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")])
def test_a_signal_ends_it_with_its_code_and_the_next_run_goes_on(
    forked, plan, undisturbed, tmp_path, name, code, says
) -> None:
    done = stopped(forked, plan, tmp_path, f"epoch:2 {name}")
    assert (done.code, done.last) == (code, f"error: {says}; run the same command again.")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".lock")]
    assert_goes_on(plan, tmp_path, undisturbed, 2)


def test_work_of_another_recipe_is_refused_and_discarded_only_when_asked(forked, plan, undisturbed, tmp_path) -> None:
    assert stopped(forked, plan, tmp_path, "epoch:2").code == -9
    text = plan.read_text()
    other = plan.with_name("other.yaml")
    other.write_text(text.replace("lr: 0.003", "lr: 0.002"))
    done = train(other, tmp_path)
    assert done.code == 73
    assert "recipe.fit.lr: 0.003 → 0.002" in done.last
    assert "--restart" in done.last
    # Words about the model change no weights.
    renamed = plan.with_name("renamed.yaml")
    renamed.write_text(text.replace("purpose: tests", "purpose: more tests"))
    done = train(renamed, tmp_path)
    assert done.code == 0, done.err
    assert len([line for line in done.err.splitlines() if ": epoch " in line]) == 2 * EPOCHS - 2
    done = train(other, tmp_path, "--overwrite", "--restart")
    assert done.code == 0, done.err
    assert (tmp_path / "tiny.safetensors").read_bytes() != undisturbed


def test_the_end_is_a_table_and_a_second_call_does_nothing(plan, tmp_path) -> None:
    done = train(plan, tmp_path)
    lines = done.out.splitlines()
    assert lines[0] == "held out:"
    assert lines[1].split() == ["class", "pixels", "IoU", "F1", "user's", "producer's"]
    assert [line.split()[0] for line in lines[3:5]] == ["trees", "water"]
    assert lines[-1].endswith(f"{tmp_path / 'tiny.safetensors'}")
    again = train(plan, tmp_path, "--json")
    assert '"held_out"' in again.out
    assert again.err == ""
    assert "up to date" in train(plan, tmp_path).out
