"""`geoseg train --keys` shows every key that a recipe may have, and nothing else."""

from __future__ import annotations

import yaml
from cli_kit import geoseg

from geoseg.training.recipe import Recipe
from geoseg.training.recipe_data import DataRecipe, SceneData
from geoseg.training.recipe_fit import FitRecipe


def test_every_key_with_its_default() -> None:
    done = geoseg("train", "--keys")
    assert (done.code, done.err) == (0, "")
    head, _, rest = done.out.partition("data:  # form 1 of 2")
    chips, _, rest = rest.partition("data:  # form 2 of 2")
    scenes, bands, rest = rest.partition("\nbands:")
    found = yaml.safe_load(head + bands + rest)
    assert found.keys() | {"data"} == Recipe.model_fields.keys()
    assert yaml.safe_load("data: #" + chips)["data"].keys() == DataRecipe.model_fields.keys()
    assert yaml.safe_load("data: #" + scenes)["data"].keys() == SceneData.model_fields.keys()
    plain = {name: info.default for name, info in FitRecipe.model_fields.items() if not info.is_required()}
    assert {name: found["fit"][name] for name in plain} == plain
    assert found["augment"]["zoom"] == [1.0, 1.0]


def test_every_key_of_the_fit_says_what_it_means() -> None:
    assert [name for name, info in FitRecipe.model_fields.items() if not info.description] == []
