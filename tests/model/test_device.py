"""What `auto` becomes, and what is refused."""

import pytest
import torch
from builders import linear_spec

from geoseg.errors import DeviceError
from geoseg.model import device
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.settings import PredictSettings


@pytest.fixture
def bare(monkeypatch):
    """A machine with nothing but its CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "_bf16_instructions", list)


@pytest.fixture
def two_cards(monkeypatch):
    """A machine with two CUDA devices that know bf16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def test_auto_on_a_bare_machine(bare):
    assert resolve(PredictSettings()) == Resolved("cpu", "fp32", 1)


def test_auto_with_cards(two_cards):
    assert resolve(PredictSettings()) == Resolved("cuda:0", "bf16", 16)


@pytest.mark.parametrize("name", ["AVX512_BF16", "AMX"])
def test_a_processor_with_bf16_of_its_own_takes_it(bare, monkeypatch, name):
    monkeypatch.setattr(device, "_bf16_instructions", lambda: [name])
    assert resolve(PredictSettings()) == Resolved("cpu", "bf16", 1)
    assert resolve(PredictSettings(precision="fp32")).precision == "fp32"
    assert name in machine_key(Resolved("cpu", "bf16", 4))["processor"].split("+")


def test_a_single_convolution_is_computed_in_fp32(two_cards, monkeypatch):
    monkeypatch.setattr(device, "_bf16_instructions", lambda: ["AMX"])
    for where in ("cpu", "cuda"):
        assert resolve(PredictSettings(device=where), linear_spec(2, 3)).precision == "fp32"
        assert resolve(PredictSettings(device=where, precision="bf16"), linear_spec(2, 3)).precision == "bf16"


def test_openvino_is_taken_when_asked_for(bare, monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda _name: "here")
    assert resolve(PredictSettings(backend="openvino")).backend == "openvino"
    assert resolve(PredictSettings(backend="torch")).backend == resolve(PredictSettings()).backend == "torch"


def test_openvino_must_be_installed(bare, monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda _name: None)
    with pytest.raises(DeviceError, match=r"OpenVINO is not installed; pip install 'geoseg\[openvino\]'"):
        resolve(PredictSettings(backend="openvino"))


def test_openvino_has_no_gpu(two_cards):
    with pytest.raises(DeviceError, match="computes on the CPU, not on cuda:0; add --device cpu"):
        resolve(PredictSettings(backend="openvino"))


def test_the_key_names_the_backend_and_its_version(monkeypatch):
    monkeypatch.setattr(device.metadata, "version", lambda name: f"{name} 1")
    ours, theirs = (machine_key(Resolved("cpu", "fp32", 4, backend)) for backend in ("torch", "openvino"))
    assert (ours["backend"], theirs["backend"], theirs["openvino"]) == ("torch", "openvino", "openvino 1")
    assert "openvino" not in ours


@pytest.mark.parametrize(("asked", "found"), [("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")])
def test_cards_by_number(two_cards, asked, found):
    assert resolve(PredictSettings(device=asked)).device == found


def test_old_cards_compute_in_fp32(two_cards, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert resolve(PredictSettings()).precision == "fp32"


def test_what_the_user_says_holds(bare):
    assert resolve(PredictSettings(device="cpu", precision="bf16", batch_size=3)) == Resolved("cpu", "bf16", 3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "cuda"}, "--device cuda: PyTorch sees 0 CUDA devices; try --device cpu"),
        ({"device": "cuda:3"}, "--device cuda:3: PyTorch sees 0"),
        ({"device": "mps"}, "no Apple GPU"),
        ({"device": "cpu", "precision": "fp16"}, "fp16 needs a GPU; on a CPU take bf16 or fp32"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
    ],
)
def test_what_is_not_here_is_refused(bare, asked, message):
    with pytest.raises(DeviceError, match=message) as caught:
        resolve(PredictSettings(**asked))
    assert caught.value.exit_code == 69


def test_a_card_too_many(two_cards):
    with pytest.raises(DeviceError, match="--device cuda:2: PyTorch sees 2 CUDA devices"):
        resolve(PredictSettings(device="cuda:2"))


def test_the_key_names_what_bytes_depend_on():
    key = machine_key(Resolved("cpu", "bf16", 4))
    assert (key["device"], key["precision"], key["torch"]) == ("cpu", "bf16", torch.__version__)
    assert key["processor"].split("+")[0] == torch.backends.cpu.get_cpu_capability()
    assert key == machine_key(Resolved("cpu", "bf16", 8))
    assert key != machine_key(Resolved("cpu", "fp32", 4))
