"""Which device, which precision: every `auto` is resolved once, here, and recorded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

import torch

from geoseg.errors import DeviceError
from geoseg.model.onnx_file import ARCHITECTURE as ONNX
from geoseg.model.spec import ModelSpec
from geoseg.model.versions import versions
from geoseg.settings import PredictSettings

CPU_BATCH = 1
"""A CPU goes chip by chip; more would only be read before their time."""
ACCELERATOR_BATCH = 16


@dataclass(frozen=True)
class Resolved:
    """What a run really uses; part of its key."""

    device: str
    """cpu, cuda:0, mps, …"""
    precision: Literal["fp32", "bf16", "fp16"]
    batch_size: int
    backend: Literal["torch", "openvino", "onnx"] = "torch"


def resolve(settings: PredictSettings, model: ModelSpec | None = None) -> Resolved:
    """Turn `auto` into facts of this machine.

    Args:
        settings: what the user asks for.
        model: what is to be computed; None: a deep network.

    Raises:
        DeviceError: the asked device or precision is not available here.
    """
    if model is not None and model.architecture.name == ONNX:
        return _resolve_onnx(settings, model)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(device.partition(":")[2] or 0)
        if number >= count:
            raise DeviceError(f"--device {settings.device}: PyTorch sees {count} CUDA devices; try --device cpu.")
        device = f"cuda:{number}"
    if device == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: PyTorch sees no Apple GPU; try --device cpu.")
    precision = settings.precision
    if precision == "auto":
        # A single convolution waits for memory, not for arithmetic: bf16 would only cost digits.
        deep = model is None or model.architecture.name != "linear"
        precision = "bf16" if deep and _knows_bf16(device) else "fp32"
    if precision == "fp16" and device == "cpu":
        raise DeviceError("--precision fp16 needs a GPU; on a CPU take bf16 or fp32.")
    batch = settings.batch_size or (CPU_BATCH if device == "cpu" else ACCELERATOR_BATCH)
    return Resolved(device, precision, batch, _backend(settings, device))


def _resolve_onnx(settings: PredictSettings, model: ModelSpec) -> Resolved:
    """An ONNX file holds one arithmetic, and ONNX Runtime's own threads would break law 2 on other devices."""
    wanted = (("device", settings.device, "cpu"), ("precision", settings.precision, "fp32"))
    for flag, given, only in (*wanted, ("backend", settings.backend, "auto")):
        if given not in {"auto", only}:
            raise DeviceError(
                f"--{flag} {given}: model {model.name} is an ONNX file, which ONNX Runtime computes on the CPU in "
                f"fp32; leave out --{flag}."
            )
    if find_spec("onnxruntime") is None:
        raise DeviceError(f"model {model.name} is an ONNX file: pip install 'geoseg[onnx]' to run it.")
    return Resolved("cpu", "fp32", settings.batch_size or CPU_BATCH, "onnx")


def visible_gpus(settings: PredictSettings) -> tuple[str, ...]:
    """GPUs that worker processes share out, in CUDA's names; none without GPU or where the user named one."""
    if settings.device not in {"auto", "cuda"} or not torch.cuda.is_available():
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",") if named else map(str, range(torch.cuda.device_count())))


def _knows_bf16(device: str) -> bool:
    """Whether bfloat16 is the faster arithmetic.

    On CPUs only with instructions of its own (seen on AVX512-BF16: twice as fast as fp32); elsewhere it is emulated.
    """
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool(_bf16_instructions())


def _bf16_instructions() -> list[str]:
    known = {"AVX512_BF16": torch.cpu._is_avx512_bf16_supported, "AMX": torch.cpu._is_amx_tile_supported}  # noqa: SLF001
    return [name for name, here in known.items() if here()]


def _backend(settings: PredictSettings, device: str) -> Literal["torch", "openvino"]:
    if settings.backend != "openvino":
        return "torch"
    if device != "cpu":
        raise DeviceError(f"--backend openvino computes on the CPU, not on {device}; add --device cpu.")
    if find_spec("openvino") is None:
        raise DeviceError("--backend openvino: OpenVINO is not installed; pip install 'geoseg[openvino]'.")
    return "openvino"


def machine_key(resolved: Resolved) -> dict[str, str]:
    """What else bytes depend on: kind of device, instruction set or GPU model, precision, libraries (law 2)."""
    kind = resolved.device.partition(":")[0]
    if kind == "cuda":
        chip = torch.cuda.get_device_name(resolved.device)
    else:
        chip = "+".join([torch.backends.cpu.get_cpu_capability(), *_bf16_instructions()])
    # A GPU chooses its kernels by the batch's shape; the CPU takes chip by chip.
    batch = {} if kind == "cpu" else {"batch": str(resolved.batch_size)}
    key = {"device": kind, "processor": chip, "precision": resolved.precision, "backend": resolved.backend}
    library = {"openvino": "openvino", "onnx": "onnxruntime"}.get(resolved.backend)
    own = {library: metadata.version(library)} if library else {}
    return key | batch | versions() | own
