"""Each kind of start, read from small local files of the form that its publisher uses."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from fit_kit import SMALL
from lightning.pytorch import Trainer
from loopback import reply, site
from safetensors.torch import save_file
from start_kit import model_spec, save_start, start_content, start_recipe
from torchgeo.models import ResNet18_Weights, resnet18
from torchgeo.trainers import SemanticSegmentationTask

from geoseg.errors import ConfigError, InputMissingError, PolicyError, TemporaryError
from geoseg.model import build as building
from geoseg.model.build import build, build_network
from geoseg.model.file import file_sha256, find_model
from geoseg.model.spec import Architecture
from geoseg.training.start import load_start
from geoseg.training.start_adapt import adapt
from geoseg.training.start_model import Start
from geoseg.training.start_published import _common_names, _normalization, start_of_torchgeo

CLASSES = {1: "a", 2: "b"}
UNET18 = Architecture(name="unet", encoder="resnet18")
TIMM18 = Architecture(name="unet", encoder="tu-resnet18")
SMALL_UNET = Architecture(name="unet", encoder=SMALL)


def loaded(*args: Any, **more: Any) -> Start:
    start = load_start(start_recipe(*args, **more))
    assert start is not None
    return start


def first_weights(start: str, bands: tuple[str, ...], network: Architecture) -> tuple[torch.Tensor, Start]:
    """Of the first convolution, adapted to bands."""
    recipe = start_recipe(start, bands, CLASSES, network)
    found = load_start(recipe)
    assert found is not None
    tensors = adapt(found, recipe, build(model_spec(bands, CLASSES, network)).state_dict()).tensors
    (name,) = [key for key in tensors if key in {"encoder.conv1.weight", "encoder.model.conv1.weight"}]
    return tensors[name], found


def test_a_bundled_model_by_name() -> None:
    spec = find_model("landcover").spec
    start = loaded("landcover", spec.band_names, CLASSES, spec.architecture)
    assert start.bands == spec.band_names
    assert start.classes == spec.classes.names
    assert (start.name, start.license) == (f"landcover {spec.version}", spec.license)
    assert start.training_data == spec.training_data


def test_a_model_file_names_everything(tmp_path) -> None:
    path = save_start(tmp_path / "m.safetensors", model_spec(("nir",), CLASSES, license="MIT"))
    start = loaded(path, ("nir",), CLASSES)
    assert (start.sha256, start.license, start.codes) == (file_sha256(path), "MIT", (1, 2))
    assert start.normalization["nir"].std == 1


@pytest.mark.parametrize("start", ["nowhere", "nowhere.safetensors", "nowhere.ckpt"])
def test_a_start_that_is_not_there(start) -> None:
    with pytest.raises(InputMissingError, match="nowhere"):
        loaded(start, ("nir",), CLASSES)


# Lightning checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `Trainer` writes one of TorchGeo's task."""
    path = tmp_path_factory.mktemp("ckpt") / "task.ckpt"
    task = SemanticSegmentationTask(model="unet", backbone=SMALL, in_channels=2, num_classes=3)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", max_epochs=1)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


def test_a_lightning_checkpoint_of_torchgeo(checkpoint) -> None:
    classes = {5: "grass", 6: "trees"}
    names = {"start_bands": ["red", "nir"], "start_classes": ["water", "trees", "bare"]}
    recipe = start_recipe(checkpoint, ("nir", "red"), classes, SMALL_UNET, **names)
    start = load_start(recipe)
    assert start is not None
    assert start.architecture == SMALL_UNET
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    found = adapt(start, recipe, build(model_spec(("nir", "red"), classes, SMALL_UNET)).state_dict())
    conv, head = "encoder.model.conv_stem.weight", "segmentation_head.0.bias"
    assert torch.equal(found.tensors[conv], stored[f"model.{conv}"].flip(1))
    assert torch.equal(found.tensors[head][1], stored[f"model.{head}"][1])
    assert found.classes == ("trees",)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({}, r"does not name its 2 bands; .*fit\.start_bands"),
        ({"start_bands": ["red"]}, "has 2 bands, named red;"),
        ({"start_bands": ["red", "red"]}, "distinct"),
        ({"start_bands": ["red", "nir"], "start_classes": ["a", "b"]}, "3 classes, named a, b;"),
    ],
)
def test_a_checkpoints_bands_must_be_named(checkpoint, names, says) -> None:
    with pytest.raises(ConfigError, match=says):
        loaded(checkpoint, ("red", "nir"), CLASSES, SMALL_UNET, **names)


def test_a_checkpoint_that_would_execute_code_is_refused(tmp_path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"state_dict": {}, "hyper_parameters": {"model": Evil()}}, tmp_path / "evil.ckpt")
    with pytest.raises(PolicyError, match="could execute code"):
        loaded(tmp_path / "evil.ckpt", ("red",), CLASSES)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nothing of the kind", "no checkpoint, or damaged|execute code"),
        ({"weights": {}}, "needs state_dict and hyper_parameters"),
        ({"state_dict": {}, "hyper_parameters": {"lr": 1}}, "lack model or in_channels"),
    ],
)
def test_other_files_are_told(content, says, tmp_path) -> None:
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises((ConfigError, PolicyError), match=says) as caught:
        loaded(path, ("red",), CLASSES)
    assert "\n" not in str(caught.value)


# TorchGeo's published weights


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


@contextmanager
def published_at(weights: Any, url: str) -> Iterator[None]:
    """Let weights of TorchGeo lie elsewhere."""
    original = weights.value.url
    object.__setattr__(weights.value, "url", url)  # frozen, and shared by the whole process
    try:
        yield
    finally:
        object.__setattr__(weights.value, "url", original)


@pytest.fixture
def moco(monkeypatch: pytest.MonkeyPatch, hub: Path) -> Iterator[tuple[Any, dict[str, torch.Tensor]]]:
    """A server with weights for 13 bands, as TorchGeo's enumeration describes them."""
    torch.manual_seed(4)
    state = resnet18(in_chans=13, num_classes=0).state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    weights = ResNet18_Weights.SENTINEL2_ALL_MOCO
    with (
        site({f"/moco-{digest}.pth": reply(buffer.getvalue())}) as served,
        published_at(weights, f"{served.url}/moco-{digest}.pth"),
    ):
        yield served, state


@pytest.mark.parametrize("network", [UNET18, TIMM18])
def test_a_sensor_encoder_of_torchgeo(network, moco) -> None:
    served, state = moco
    bands = ("nir", "red", "thermal")
    name = "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"
    weight, start = first_weights(name, bands, network)
    theirs = state["conv1.weight"]
    assert start.bands[:5] == ("coastal", "blue", "green", "red", "rededge071")
    infrared = [4, 5, 6, 7, 8, 9]  # B5 … B9
    torch.testing.assert_close(weight[:, 0], theirs[:, infrared].sum(1))
    torch.testing.assert_close(weight[:, 1], theirs[:, 3])
    torch.testing.assert_close(weight[:, 2], theirs.sum(1) - theirs[:, [3, *infrared]].sum(1))  # for the other six
    # Trained on DN / 10 000, which is reflectance.
    assert (start.normalization["nir"].mean, start.normalization["nir"].std) == (0, 1)
    first_weights(name, bands, network)
    assert len(served.asked) == 1  # then from torch.hub's cache


def test_a_band_of_two_sensors_is_not_confused() -> None:
    names = {}
    for weights in (ResNet18_Weights.LANDSAT_TM_TOA_MOCO, ResNet18_Weights.LANDSAT_OLI_SR_MOCO):
        names[weights.name] = _common_names(weights)
    assert names == {
        "LANDSAT_TM_TOA_MOCO": ("blue", "green", "red", "nir", "swir16", "thermal", "swir22"),
        "LANDSAT_OLI_SR_MOCO": ("coastal", "blue", "green", "red", "nir", "swir16", "swir22"),
    }


def test_stretched_images_have_no_normalization_that_could_be_kept() -> None:
    bands = ("red", "green", "blue")
    assert _normalization(ResNet18_Weights.SENTINEL2_RGB_SECO, bands) == {}
    assert _normalization(ResNet18_Weights.LANDSAT_OLI_SR_MOCO, bands) == {}
    assert set(_normalization(ResNet18_Weights.SENTINEL2_RGB_MOCO, bands)) == set(bands)


def test_an_encoder_for_another_network_is_told(moco) -> None:
    with pytest.raises(
        ConfigError, match=r"SENTINEL2_ALL_MOCO does not fit unet with encoder tu-mobilenetv3"
    ) as caught:
        first_weights("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", ("nir",), SMALL_UNET)
    assert "\n" not in str(caught.value)


def test_without_a_network_published_weights_are_temporary_trouble(monkeypatch, hub) -> None:
    weights = ResNet18_Weights.SENTINEL2_RGB_MOCO
    with (
        published_at(weights, "http://127.0.0.1:9/x-00000000.pth"),  # nobody listens there
        pytest.raises(TemporaryError, match=r"cannot fetch fit\.start torchgeo:.*TORCH_HOME") as caught,
    ):
        start_of_torchgeo("ResNet18_Weights.SENTINEL2_RGB_MOCO")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"ResNet18_Weights\.SENTINEL2_ALL_MOCO"):
        start_of_torchgeo("ResNet18_Weights.SENTINEL2_ALL_MOCHO")


# timm and segmentation_models_pytorch


def state_of(encoder: str) -> dict[str, torch.Tensor]:
    """An encoder for three bands with weights that nobody else draws."""
    torch.manual_seed(11)
    state = build_network(Architecture(name="unet", encoder=encoder), 3, 2).state_dict()
    return {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}


def test_imagenet_weights_of_smp(monkeypatch, tmp_path) -> None:
    state = state_of("resnet18")
    save_file(state, tmp_path / "model.safetensors")
    asked: list[str] = []

    def download(repo: str, filename: str, revision: str) -> str:
        asked.append(repo)
        return str(tmp_path / filename)

    monkeypatch.setattr(smp.encoders, "hf_hub_download", download)
    for name in ("imagenet", "smp:imagenet"):
        weight, start = first_weights(name, ("blue", "green", "red"), UNET18)
        assert torch.equal(weight, state["conv1.weight"].flip(1))
        assert start.license == "not stated"
    assert set(asked) == {"smp-hub/resnet18.imagenet"}


def test_weights_of_timm_by_model_and_tag(monkeypatch, hub) -> None:
    full = timm.create_model("resnet18").state_dict()
    buffer = io.BytesIO()
    torch.save(full, buffer)
    find = timm.models._builder._resolve_pretrained_source
    with site({"/r.pth": reply(buffer.getvalue())}) as served:
        monkeypatch.setattr(
            timm.models._builder,
            "_resolve_pretrained_source",
            lambda cfg: find({**cfg, "hf_hub_id": None, "url": f"{served.url}/r.pth"}),
        )
        for name in ("timm:resnet18.a1_in1k", "imagenet"):
            weight, start = first_weights(name, ("red", "green", "nir"), TIMM18)
            # Blue is gone; nir stands in for it.
            assert torch.equal(weight, full["conv1.weight"])
            assert start.license == "apache-2.0"


@pytest.mark.parametrize(
    ("start", "network", "says"),
    [
        ("timm:resnet50.a1_in1k", TIMM18, "say network.encoder: tu-resnet50"),
        ("timm:resnet18.a1_in1k", UNET18, "say network.encoder: tu-resnet18"),
        ("smp:ssl", TIMM18, "say timm:NAME or imagenet"),
        ("smp:nowhere", UNET18, "cannot build"),
        ("imagenet", Architecture(name="linear"), "has no encoder"),
    ],
)
def test_weights_for_another_encoder_are_refused(start, network, says) -> None:
    with pytest.raises(ConfigError, match=says):
        loaded(start, ("red",), CLASSES, network)


def test_weights_that_cannot_be_fetched_are_temporary_trouble(monkeypatch) -> None:
    def maker(_name: str) -> Any:
        def make(**_given: Any) -> torch.nn.Module:
            raise ConnectionError("no route")

        return make

    monkeypatch.setattr(building, "_maker", maker)
    with pytest.raises(TemporaryError, match=r"no route.*without fit\.start"):
        loaded("imagenet", ("red",), CLASSES, UNET18)


def test_no_word_of_a_path_in_the_name(tmp_path) -> None:
    path = save_start(tmp_path / "m.safetensors", model_spec(("nir",), CLASSES))
    assert str(tmp_path) not in loaded(path, ("nir",), CLASSES).name
    assert start_content(path, ("nir",), CLASSES)["fit"]["start"] == str(path)
