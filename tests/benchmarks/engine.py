"""How close `geoseg run` comes to the speed of the bare network, and how far ahead of a plain TorchGeo loop it is.

    python tests/benchmarks/engine.py [--size 8192] [--model landcover|resnet18|FILE] [--device cpu|cuda]
                                      [--source SCENE.tif …] [--backend openvino] [--plain-size 2048]
                                      [--rounds 1] [--work FOLDER]

Each part runs in a process of its own, on the same raster and with the same weights. Other work on the machine slows
all parts, so read ratios: the bare network goes before and after each of `--rounds` runs, and of each the best counts.
The raster is a mosaic of shifted and flipped copies of real scenes (`engine_scene.py`), from 16 384² on a VRT of files
of 4096²; `resnet18` is a U-Net with random weights whose last bias is chosen so that every class wins somewhere.

    bare      bf16 (fp32 where the processor has no bf16), channels-last, one stream, all cores, 4 × 512², resident
    read      every chip of the plan read, nothing computed; floor: every block of the raster decoded once
    run       `geoseg.run` to GeoPackage; busy = Σ seconds in forward ÷ (seconds of segment × slots)
    naive     rasterio windows of 512², fp32, NCHW, batch 4, argmax; no margin
    plain     TorchGeo: RasterDataset, GridGeoSampler, DataLoader, fp32, trimmed and stitched in an array,
              rasterio.features.shapes, GeoPackage
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine_scene import random_unet, write_mosaic, write_scene

SAMPLE = Path(__file__).parents[2] / "data" / "eastern_shore_s2.tif"


def part(name: str, given: argparse.Namespace, raster: Path, model: str) -> dict[str, Any]:
    """One part in its own process, with its largest resident size in bytes."""
    options = {"raster": str(raster), "model": model, "folder": given.work, "name": name}
    options |= {"device": given.device, "backend": given.backend, "precision": given.precision}
    command = [sys.executable, str(Path(__file__).with_name("engine_parts.py")), json.dumps(options)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answer = process.stdout.read().strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    found: dict[str, Any] = json.loads(answer[-1])
    found |= {"process_s": time.perf_counter() - start, "peak_mb": usage.ru_maxrss / 1024}
    print(f"  {name:11}", *(f"{key} {shown(value)}" for key, value in found.items()), sep="  ", flush=True)
    return found


def shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    """Ratios of rates: by the clock on the wall, and by seconds of processors, which other work hardly disturbs."""
    run = max(found["run"], key=lambda one: one["mpx_s"])
    for key in ("mpx_s", "mpx_cpu_s"):
        best = {name: max(one[key] for one in several) for name, several in found.items() if key in several[0]}
        print(f"\n  by {'the wall' if key == 'mpx_s' else 'processor seconds'}")
        print(f"    run / bare    {best['run'] / best['bare']:.2f}   (goal 0.55; 0.75 with the best backend)")
        for other in sorted({"naive", "plain"} & best.keys()):
            print(f"    run / {other}   {best['run'] / best[other]:.1f} ×")
    print(f"\n  device busy     {run['busy']:.2f}, of processor seconds {run['busy_cpu']:.2f}   (goal 0.90)")
    print(f"  halo factor     {run['halo']:.2f}   (goal 1.35)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192, help="rows and columns")
    parser.add_argument("--model", default="landcover")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--source", type=Path, nargs="+", default=[SAMPLE], help="scenes of equal bands")
    parser.add_argument(
        "--plain-size", type=int, default=2048, help="the slow loops see this corner; 0: leave them out"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often the network alone and the run alternate")
    parser.add_argument("--work", help="scratch folder that stays; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        given.work = given.work or temporary
        folder = Path(given.work)
        folder.mkdir(parents=True, exist_ok=True)
        raster = write_scene(folder, given.source, given.size)
        corner = write_mosaic(folder / f"scene_{given.plain_size}.tif", given.source, given.plain_size)
        model = str(random_unet(folder / "resnet18.safetensors", raster)) if given.model == "resnet18" else given.model
        print(f"{given.model}, {given.size}², {given.device}", flush=True)
        order = [("read", raster), *[("bare", raster), ("run", raster)] * given.rounds, ("bare", raster)]
        if corner is not None:
            order += [("naive", corner), ("plain", corner)]
        found: dict[str, list[dict[str, Any]]] = {}
        for name, scene in order:
            found.setdefault(name, []).append(part(name, given, scene, model))
        report(found)


if __name__ == "__main__":
    main()
