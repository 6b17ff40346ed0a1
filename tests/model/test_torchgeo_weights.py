"""The table of TorchGeo's published networks says what the installed TorchGeo says of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchgeo.models import Unet_Weights

from geoseg.model.build import build
from geoseg.model.licenses import commercial_use_of
from geoseg.model.normalize import normalize, reflectance
from geoseg.model.published import PUBLISHED
from geoseg.model.spec import ModelSpec
from geoseg.model.torchgeo_weights import TORCHGEO, TorchGeoWeights

COLORS = {"B4": "red", "B3": "green", "B2": "blue", "B8": "nir", "R": "red", "G": "green", "B": "blue", "N": "nir"}
MEMBERS = [pytest.param(member, id=member.name) for member in Unet_Weights]
EACH = pytest.mark.parametrize("weights", TORCHGEO.values(), ids=lambda weights: weights.member)


def ours(member: Unet_Weights) -> TorchGeoWeights:
    return TORCHGEO[f"torchgeo:{member}"]


def published_bands(member: Unet_Weights) -> tuple[str, ...]:
    """TorchGeo's letters in geoseg's words: a color that comes twice is of two dates."""
    names = [COLORS[band] for band in member.meta["bands"]]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name}@{names[:n].count(name) + 1}" for n, name in enumerate(names))


@pytest.mark.parametrize("member", MEMBERS)
def test_facts_are_those_of_torchgeo(member: Unet_Weights) -> None:
    spec, meta = ours(member).spec(), member.meta
    assert spec.band_names == published_bands(member)
    assert len(spec.bands) == meta["in_chans"]
    assert len(spec.classes) == meta["num_classes"]
    assert spec.classes.names == meta.get("classes", spec.classes.names)
    assert (spec.architecture.name, spec.architecture.encoder) == ("unet", meta["encoder"])
    assert spec.license == meta["license"]
    assert spec.gsd_m[0] == meta.get("resolution", spec.gsd_m[0])
    if "input_shape" in meta:
        assert meta["input_shape"] == (len(spec.bands), spec.chip, spec.chip)


@pytest.mark.parametrize("member", MEMBERS)
def test_the_file_is_the_published_one(member: Unet_Weights) -> None:
    """TorchGeo renamed its files after their checksums; nothing else of an address changed but the commit."""

    def bare(url: str) -> str:
        without_commit = re.sub(r"/[0-9a-f]{40}/", "/", url)
        return re.sub(r"-[0-9a-f]{8}(?=\.pth)", "", without_commit).replace("huggingface.co", "hf.co")

    assert bare(ours(member).url) == bare(member.url)


@EACH
def test_the_address_is_pinned(weights: TorchGeoWeights) -> None:
    assert re.fullmatch(r"https://hf\.co/[\w/.-]+/resolve/[0-9a-f]{40}/[\w/.-]+\.pth", weights.url)
    digits = re.search(r"-([0-9a-f]{8})\.pth$", weights.url)
    assert weights.sha256 == (digits and digits[1])
    source = PUBLISHED[weights.name]
    assert f"{source.base}/{source.files[0]}" == weights.url
    assert source.checksum == ("first 8 digits of the file's SHA-256" if digits else None)


@EACH
def test_sizes_are_those_of_the_networks(weights: TorchGeoWeights) -> None:
    with torch.device("meta"):
        state = build(weights.spec()).state_dict()
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert size / 1e6 == pytest.approx(weights.megabytes, abs=0.7)
    assert size < PUBLISHED[weights.name].max_bytes


def test_licenses_say_what_may_be_done() -> None:
    answers = {weights.member: commercial_use_of(weights.spec()).answer for weights in TORCHGEO.values()}
    free = {member for member, answer in answers.items() if answer == "yes"}
    assert free == {
        "SENTINEL2_2CLASS_FTW",
        "SENTINEL2_3CLASS_FTW",
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB3",
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB5",
        "SENTINEL2_FTW_PRUE_CCBY_EFNETB7",
        "NAIP_RGBN_RESNET18_CHESAPEAKERSC",
    }
    assert set(answers.values()) == {"yes", "no"}


@EACH
def test_a_contract_survives_its_file(weights: TorchGeoWeights) -> None:
    assert ModelSpec.from_json(weights.spec().to_json()) == weights.spec()


def network_input(spec: ModelSpec, stored: np.ndarray) -> np.ndarray:
    """Of stored numbers without an offset, (band, row, col)."""
    scale = 1e-4 if spec.unit == "reflectance" else 1.0
    return normalize(reflectance(stored, [scale] * len(stored), [0.0] * len(stored)), spec.bands)


def assert_as_published(member: Unet_Weights, spec: ModelSpec, stored: np.ndarray) -> None:
    chain = [step for step in member.transforms if type(step).__name__ != "Resize"]  # images are chips of that size
    theirs = nn.Sequential(*chain)(torch.from_numpy(stored[None]).float())[0]
    np.testing.assert_allclose(network_input(spec, stored), theirs.numpy(), rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("member", MEMBERS)
@given(data=st.data())
def test_normalization_is_the_published_one(member: Unet_Weights, data: st.DataObject) -> None:
    """Law 10 for other people's networks. Mutation: numbers of Sentinel-2 divided by 10000 instead of 3000."""
    spec = ours(member).spec()
    most = 16_000 if spec.unit == "reflectance" else 255
    numbers = data.draw(st.lists(st.integers(0, most), min_size=len(spec.bands), max_size=len(spec.bands)))
    assert_as_published(member, spec, np.array(numbers, "uint16")[:, None, None])


def test_another_scale_turns_it_red() -> None:
    from dataclasses import replace

    member = Unet_Weights.SENTINEL2_3CLASS_FTW
    spec = ours(member).spec()
    wrong = replace(spec, bands=tuple(replace(band, std=1e4) for band in spec.bands))
    stored = np.full((8, 1, 1), 1500, "uint16")
    assert_as_published(member, spec, stored)
    with pytest.raises(AssertionError):
        assert_as_published(member, wrong, stored)
