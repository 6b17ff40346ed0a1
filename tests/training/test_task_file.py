"""TorchGeo's `SemanticSegmentationTask`, trained by somebody: the imported model gives the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli_kit import Done, geoseg
from lightning.pytorch import Trainer
from torchgeo.trainers import SemanticSegmentationTask

from geoseg.arrays import Chip
from geoseg.grid import Window
from geoseg.model.build import build
from geoseg.model.device import Resolved
from geoseg.model.file import find_model, load_tensors
from geoseg.model.predictor import Predictor

SMALL = "tu-mobilenetv3_small_050"
BANDS = [{"name": "red", "mean": 0.1, "std": 0.05}, {"name": "nir", "mean": 0.3, "std": 0.1}]
CLASSES = [{"code": 1, "name": "water", "color": "#0064c8"}, {"code": 2, "name": "trees"}, {"code": 7, "name": "bare"}]
SPEC = {"bands": BANDS, "classes": CLASSES, "gsd_m": [10, 20], "chip": 64, "margin": 0}


def saved(path: Path, task: SemanticSegmentationTask) -> Path:
    """As `Trainer` writes it, with batch norms that do something."""
    torch.manual_seed(0)
    for name, tensor in task.state_dict().items():
        if "running_" in name:
            tensor.add_(0.3 * torch.rand(tensor.shape))
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", max_epochs=1)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


def imported(checkpoint: Path, *flags: object, **changes: Any) -> tuple[Done, Path]:
    spec, out = checkpoint.with_name("spec.yaml"), checkpoint.with_name("m.safetensors")
    spec.write_text(yaml.safe_dump(SPEC | changes))
    return geoseg("models", "import", checkpoint, "--spec", spec, "-o", out, *flags), out


def pixels() -> torch.Tensor:
    return torch.randn(2, 2, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "network",
    [
        {"model": "unet", "backbone": SMALL},
        {"model": "deeplabv3+", "backbone": SMALL},
        {"model": "fcn", "num_filters": 5},
    ],
    ids=lambda network: network["model"],
)
def test_equal_logits(tmp_path, network) -> None:
    task = SemanticSegmentationTask(**network, in_channels=2, num_classes=3).eval()
    done, out = imported(saved(tmp_path / "task.ckpt", task))
    assert done.code == 0, done.err
    ref = find_model(str(out))
    ours = build(ref.spec).eval()
    ours.load_state_dict(load_tensors(out))
    with torch.inference_mode():
        assert torch.equal(ours(pixels()), task(pixels()))
    assert ref.spec.name == "task"
    assert ref.spec.classes.codes == (1, 2, 7)
    assert ref.spec.band_names == ("red", "nir")


@pytest.mark.parametrize("model", ["unet", "fcn"])
def test_one_logit_becomes_two_classes(tmp_path, model) -> None:
    """A binary task's sigmoid is the softmax of geoseg."""
    task = SemanticSegmentationTask(model=model, backbone=SMALL, in_channels=2, task="binary", num_filters=4).eval()
    bands = [{"name": name, "mean": 0.0, "std": 1.0, "plausible": [-9, 9]} for name in ("red", "nir")]
    done, out = imported(saved(tmp_path / "task.ckpt", task), classes=["other", "field"], bands=bands, stride=32)
    assert done.code == 0, done.err
    with torch.inference_mode():
        expected = torch.sigmoid(task(pixels()[:1])).reshape(64, 64).numpy()
    valid = np.ones((64, 64), bool)
    chips = [Chip(pixels()[0].numpy(), valid[None], valid, Window(0, 0, 64, 64))]
    predictor = Predictor.load(find_model(str(out)), ("red", "nir"), Resolved("cpu", "fp32", 1))
    (found,) = predictor.scores(chips, (1.0, 1.0), (0.0, 0.0))
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    assert expected.std() > 1e-4


def test_a_pickle_that_would_execute_code_needs_trust(tmp_path) -> None:
    task = SemanticSegmentationTask(model="fcn", in_channels=2, num_classes=3, num_filters=4)
    path = saved(tmp_path / "task.ckpt", task)
    content = torch.load(path, weights_only=True)
    torch.save(content | {"extra": Marker(tmp_path / "executed")}, path)
    done, out = imported(path)
    assert done.code == 77
    assert "could execute code; save its state_dict and hyper_parameters alone, or pass --trust-model" in done.last
    assert not (tmp_path / "executed").exists()
    assert not out.exists()
    done, out = imported(path, "--trust-model")
    assert (done.code, (tmp_path / "executed").exists()) == (0, True), done.err
    assert find_model(str(out)).spec.architecture.name == "fcn"


class Marker:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"hyper_parameters": {"lr": 1}}, 78, "lack model or in_channels"),
        ({"task": "multilabel"}, 78, "several classes a pixel"),
        ({"num_classes": 4}, 78, "names 3 of the model's 4 classes"),
        ({"in_channels": 3}, 78, "names 2 of the model's 3 bands"),
        ({"num_filters": 9}, 78, "its tensors are not those of the 'fcn'"),
        ({"model": "yolo"}, 78, "'yolo' is unknown"),
    ],
    ids=str,
)
def test_checkpoints_of_others_are_told(tmp_path, change, code, says) -> None:
    task = SemanticSegmentationTask(model="fcn", in_channels=2, num_classes=3, num_filters=4)
    path = saved(tmp_path / "task.ckpt", task)
    content = torch.load(path, weights_only=True)
    if "hyper_parameters" in change:
        content |= change
    else:
        content["hyper_parameters"] |= change
    torch.save(content, path)
    done, out = imported(path)
    assert (done.code, says in done.last) == (code, True), done.err
    assert not out.exists()
