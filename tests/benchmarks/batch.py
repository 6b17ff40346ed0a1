"""A batch of scenes against the same pixels in one raster, in Mpx a second: what ends and beginnings of scenes cost.

    python tests/benchmarks/batch.py                 4 scenes of 2048² each, the bundled model
    python tests/benchmarks/batch.py --lanes 1       one scene after the other, for comparison

The scenes are the four quarters of one mosaic of shifted and flipped copies of the sample. Each part is a process of
its own that has run a small scene before, so that kernels are compiled and the model's file is read. Seconds of
processors are hardly disturbed by other work; with `--no-seam` neither part predicts the pairs of chips that are
sampled beside the map, one for every scene however small.

    whole     `geoseg.run` of the mosaic
    batch     `geoseg.stories.batch.batch` of its quarters, pages and thumbnails included
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rasterio
from affine import Affine
from engine_scene import write_mosaic
from rasterio.windows import Window

SAMPLE = Path(__file__).parents[2] / "data" / "eastern_shore_s2.tif"
WARM_UP = 256


def quarters(whole: Path, folder: Path, across: int) -> list[Path]:
    """The mosaic cut into across² files of equal size."""
    out = []
    with rasterio.open(whole) as source:
        side = source.width // across
        for row in range(across):
            for col in range(across):
                path = folder / f"{whole.stem}_{row}{col}.tif"
                corner = source.transform @ Affine.translation(col * side, row * side)
                profile = source.profile | {"width": side, "height": side, "transform": corner}
                with rasterio.open(path, "w", **profile) as target:
                    target.write(source.read(window=Window(col * side, row * side, side, side)))
                    target.descriptions, target.scales = source.descriptions, source.scales
                    target.offsets = source.offsets
                    target.update_tags(**{k: v for k, v in source.tags().items() if k != "AREA_OR_POINT"})
                out.append(path)
    return out


def part(name: str, options: dict[str, object]) -> tuple[float, float]:
    """Mpx of a part by the second on the wall and of processors, in a process of its own."""
    command = [sys.executable, __file__, "--part", json.dumps(options | {"name": name})]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    print(f"  {name:6} {answer['mpx_s']:.2f} Mpx/s, {answer['mpx_cpu_s']:.2f} Mpx a second of processors", flush=True)
    return float(answer["mpx_s"]), float(answer["mpx_cpu_s"])


def measure(options: dict[str, object]) -> None:
    """What `part` started."""
    import geoseg
    from geoseg.ledger.scene import BatchScene
    from geoseg.settings import OutputSettings, PredictSettings, RunSettings
    from geoseg.stories import lanes
    from geoseg.stories.batch import batch

    predict = PredictSettings(
        model=str(options["model"]), device=str(options["device"]), seam=None if options["seam"] else "0%"
    )
    out = Path(str(options["out"])) / str(options["name"])
    geoseg.run(str(options["small"]), out / "small", RunSettings(predict=predict))
    start, cpu = time.perf_counter(), time.process_time()
    if options["name"] == "whole":
        geoseg.run(str(options["whole"]), out / "whole", RunSettings(predict=predict))
    else:
        lanes.LANES = int(str(options["lanes"]))
        scenes = [
            BatchScene(
                name=Path(path).stem,
                inputs=(path,),
                settings=RunSettings(predict=predict, output=OutputSettings(name=Path(path).stem)),
                folder=Path(path).stem,
            )
            for path in options["scenes"]  # type: ignore[attr-defined]
        ]
        assert batch(scenes, out / "batch").exit_code == 0
    took, busy = time.perf_counter() - start, time.process_time() - cpu
    mpx = float(str(options["mpx"]))
    print(json.dumps({"mpx_s": mpx / took, "mpx_cpu_s": mpx / busy}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of a scene")
    parser.add_argument("--across", type=int, default=2, help="across² scenes")
    parser.add_argument("--model", default="landcover")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--no-seam", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="each part in turn; the best of each counts")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is not None:
        measure(json.loads(given.part))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, size = Path(temporary), given.size * given.across
        whole, small = (write_mosaic(folder / f"scene_{n}.tif", [SAMPLE], n) for n in (size, WARM_UP))
        assert whole is not None
        scenes = [str(path) for path in quarters(whole, folder, given.across)]
        best = dict.fromkeys(("whole", "batch"), (0.0, 0.0))
        print(f"{len(scenes)} scenes of {given.size}², {given.model}, {given.device}, {given.lanes} lanes", flush=True)
        for number in range(given.rounds):
            options = {"whole": str(whole), "small": str(small), "scenes": scenes, "mpx": size**2 / 1e6}
            options |= {"out": str(folder / f"out{number}"), "lanes": given.lanes}
            options |= {"model": given.model, "device": given.device, "seam": not given.no_seam}
            for name, before in best.items():
                wall, processors = part(name, options)
                best[name] = max(before[0], wall), max(before[1], processors)
        wall, processors = (mine / its for mine, its in zip(best["batch"], best["whole"], strict=True))
        print(f"\n  batch / whole  {wall:.2f}, by seconds of processors {processors:.2f}   (goal 0.90)")


if __name__ == "__main__":
    main()
