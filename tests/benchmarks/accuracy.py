"""Network against a forest on single pixels, on places that neither has seen.

    python tests/benchmarks/accuracy.py configs/train/landcover.yaml --folds 5 --jobs 2

Places (`place_group`) are dealt to folds; for each fold both are trained on all other places: the network as the recipe
says, the forest with 60 trees on single pixels of the very same chips. What both say of the fold is counted place by
place; the difference of their mean IoU is bootstrapped over places, which are the independent units.

With `--without nir` those optional bands are missing for network and forest alike. For two classes, an index of
greenness with the best threshold of the training pixels stands beside them. Finished folds are kept under `--work`.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.confusion import count_pairs
from geoseg.model.spec import Band, ModelSpec
from geoseg.training.chips import IGNORE, ChipSet, fit_bands, load_chips
from geoseg.training.recipe import Recipe, read_recipe

TREES, LEAF, PIXELS = 60, 5, 300_000
DRAWS = 10_000
Matrices = dict[str, NDArray[np.int64]]
"""Place → counts (true class, predicted class)."""


@dataclass(frozen=True)
class Task:
    recipe: Path
    fold: int
    folds: int
    split: str | None
    without: frozenset[str]
    work: Path

    @property
    def place(self) -> Path:
        missing = "".join(f"-{band}" for band in sorted(self.without))
        return self.work / f"{self.recipe.stem}{missing}-{self.split or 'all'}-{self.fold + 1}of{self.folds}.npz"


def main() -> None:
    options = parsed()
    tasks = [
        Task(options.recipe, fold, options.folds, options.split, frozenset(options.without), options.work)
        for fold in range(options.folds)
    ]
    options.work.mkdir(parents=True, exist_ok=True)
    left = [task for task in tasks if not task.place.exists()]
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for task, seconds in zip(left, pool.map(run, left), strict=True):
            print(f"fold {task.fold + 1} of {task.folds}: {seconds:.0f} s", flush=True)
    report(tasks)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--split", choices=["train"], help="only training places: for choosing a recipe")
    parser.add_argument("--without", action="append", default=[], metavar="BAND")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("/tmp/geoseg-accuracy"))
    return parser.parse_args()


def run(task: Task) -> float:
    """One fold; returns seconds."""
    import time

    start = time.monotonic()
    recipe = read_recipe(task.recipe)
    chips = load_chips(recipe)
    if task.split:
        chips = chips.split(task.split)
    fold_of = dealt(chips.places, task.folds)
    held = np.array([fold_of[place] == task.fold for place in chips.places])
    training, unseen = chips.pick(~held), chips.pick(held)
    bands = fit_bands(training, recipe)
    predictions = {
        "network": by_network(recipe, bands, training, unseen, task.without),
        "forest": by_forest(bands, training, unseen, task.without, len(recipe.classes)),
    }
    if len(recipe.classes) == 2 and {"red", "green", "blue"} <= {band.name for band in bands}:
        predictions["green index"] = by_index(bands, training, unseen)
    found = {
        f"{name}|{place}": matrix
        for name, predicted in predictions.items()
        for place, matrix in by_place(predicted, unseen, len(recipe.classes)).items()
    }
    np.savez(task.place, **found)
    return time.monotonic() - start


def dealt(places: tuple[str, ...], folds: int) -> dict[str, int]:
    """Place → fold: large places first, each to the fold with the fewest chips."""
    names, sizes = np.unique(places, return_counts=True)
    load, fold_of = np.zeros(folds), {}
    for number in np.lexsort((names, -sizes)):
        fold = int(load.argmin())
        fold_of[str(names[number])] = fold
        load[fold] += sizes[number]
    return fold_of


def by_network(
    recipe: Recipe, bands: tuple[Band, ...], training: ChipSet, unseen: ChipSet, without: frozenset[str]
) -> NDArray[np.intp]:
    from geoseg.training.fit import fit, forward_of
    from geoseg.training.score import predict
    from geoseg.training.start import begin, load_start

    spec = begin(spec_of(recipe, bands), recipe, load_start(recipe)).spec
    forward = forward_of(fit(spec, training, recipe).network)
    return predict(forward, unseen, spec.bands, without=without).argmax(axis=1)


def spec_of(recipe: Recipe, bands: tuple[Band, ...]) -> ModelSpec:
    model, network = recipe.model, recipe.network
    return ModelSpec(
        name=model.name,
        version=model.version,
        license=model.license,
        attribution=model.attribution,
        architecture=recipe.architecture(),
        bands=bands,
        classes=recipe.scheme(),
        gsd_m=model.gsd_m,
        chip=network.chip,
        stride=network.stride,
        margin=0,
        purpose=model.purpose,
        unit=model.unit,
    )


def by_forest(
    bands: tuple[Band, ...], training: ChipSet, unseen: ChipSet, without: frozenset[str], classes: int
) -> NDArray[np.intp]:
    from sklearn.ensemble import RandomForestClassifier

    there = [number for number, band in enumerate(bands) if band.name not in without]
    used = training.labels != IGNORE
    pixels, labels = np.moveaxis(training.images[:, there], 1, -1)[used], training.labels[used]
    some = np.random.default_rng(0).choice(len(labels), min(PIXELS, len(labels)), replace=False)
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, n_jobs=-1, random_state=0)
    forest.fit(pixels[some], labels[some])
    every = np.moveaxis(unseen.images[:, there], 1, -1)
    return forest.predict(every.reshape(-1, len(there))).reshape(every.shape[:3]).astype(np.intp)


def by_index(bands: tuple[Band, ...], training: ChipSet, unseen: ChipSet) -> NDArray[np.intp]:
    """Excess green (Woebbecke et al. 1995, doi 10.13031/2013.27838), on the best side of the best threshold."""
    names = [band.name for band in bands]

    def greenness(chips: ChipSet) -> NDArray[np.float32]:
        red, green, blue = (chips.images[:, names.index(name)] for name in ("red", "green", "blue"))
        return (2 * green - red - blue) / np.maximum(red + green + blue, 1e-6)

    used, values = training.labels != IGNORE, greenness(training)
    truth, known = training.labels[used] == 1, values[used]
    tried = [(sign, t) for sign in (1, -1) for t in np.quantile(sign * known, np.linspace(0.02, 0.98, 97))]
    right = [np.mean(truth == (sign * known > threshold)) for sign, threshold in tried]
    sign, threshold = tried[int(np.argmax(right))]
    return (sign * greenness(unseen) > threshold).astype(np.intp)


def by_place(predicted: NDArray[np.intp], chips: ChipSet, classes: int) -> Matrices:
    found: Matrices = {}
    for told, labels, valid, place in zip(predicted, chips.labels, chips.valid, chips.places, strict=True):
        true = np.where(valid & (labels != IGNORE), labels, classes).astype(np.uint8)
        counts = count_pairs(true, told.astype(np.uint8), classes)[:classes, :classes]
        found[place] = found.get(place, 0) + counts
    return found


def report(tasks: list[Task]) -> None:
    found: dict[str, Matrices] = {}
    for task in tasks:
        with np.load(task.place) as file:
            for key in file.files:
                name, place = key.split("|", 1)
                found.setdefault(name, {})[place] = file[key]
    names = [row.name for row in read_recipe(tasks[0].recipe).classes]
    print(f"\n{len(found['network'])} places in {len(tasks)} folds; mean IoU, accuracy, IoU of " + ", ".join(names))
    for name, matrices in found.items():
        total = np.sum(list(matrices.values()), axis=0)
        each = " ".join(f"{value:.3f}" for value in ious(total))
        print(f"{name:12} {ious(total).mean():.4f}  {np.trace(total) / total.sum():.4f}  {each}")
    for other in [name for name in found if name != "network"]:
        low, mean, high = bootstrapped(found["network"], found[other])
        print(f"network − {other}: {mean:+.4f} mean IoU, 95 % interval over places [{low:+.4f}, {high:+.4f}]")


def ious(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    hits = np.diag(matrix)
    return hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1) - hits, 1)


def bootstrapped(one: Matrices, other: Matrices) -> tuple[float, float, float]:
    """(2.5 % quantile, value, 97.5 % quantile) of the difference in mean IoU."""
    places = sorted(one)
    pair = [np.stack([matrices[place] for place in places]) for matrices in (one, other)]
    rng, differences = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(places), len(places))
        differences.append(np.subtract(*(ious(part[drawn].sum(axis=0)).mean() for part in pair)))
    value = np.subtract(*(ious(part.sum(axis=0)).mean() for part in pair))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(value), float(high)


if __name__ == "__main__":
    main()
