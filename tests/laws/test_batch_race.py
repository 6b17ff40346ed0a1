"""A batch of many scenes under a race of two processes that are killed again and again: every good scene once.

Once means: its record, written last, is never written a second time, whoever finds it finished.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_kit import cut, geoseg, reflectance_model, states
from fork_kit import Forked, Running

from geoseg.io.record import verify_record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"<html>404</html>",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "beyond": lambda content: content[:4] + b"\xff\xff\xff\x7f" + content[8:],
}


def records(out: Path, names: list[str]) -> dict[str, tuple[int, int]]:
    paths = [path for name in names if (path := out / name / f"{name}.json").is_file()]
    return {path.stem: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def race(forked: Forked, call: list[object], out: Path, good: list[str], *, kills: int, seed: int) -> None:
    """Two at a time; one of them is killed when more is done than before, and started again; then both run out.

    Asserts that no record changes from one look to the next.
    """
    choose, seen = random.Random(seed), dict[str, tuple[int, int]]()
    pair = [forked.start(*call), forked.start(*call)]
    for _ in range(kills):
        before = len(seen)
        while len(seen) == before and any(running.process.is_alive() for running in pair):
            pair[0].process.join(0.02)
            seen = looked(out, good, seen)
        victim = choose.randrange(2)
        pair[victim].process.join(choose.uniform(0, 0.5))
        pair[victim].signal(signal.SIGKILL)
        pair[victim].process.join()
        pair[victim] = forked.start(*call)
    for running in pair:
        assert ended(running).code == 3
    looked(out, good, seen)


def looked(out: Path, good: list[str], seen: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    found = records(out, good)
    assert {name: found.get(name) for name in seen} == seen, "a scene was made again"
    return found


def ended(running: Running):
    done = running.end()
    assert "Traceback" not in done.err
    return done


def assert_settled(out: Path, good: list[str], broken: list[str]) -> None:
    report = json.loads((out / "report.json").read_text())
    states = {scene["name"]: scene["state"] for scene in report["scenes"]}
    assert states == dict.fromkeys(good, "done") | dict.fromkeys(broken, "failed")
    assert all(
        scene["exit_code"] in {65, 66} and scene["reason"] for scene in report["scenes"] if scene["name"] in broken
    )
    for name in good:
        assert verify_record(out / name / f"{name}.json") == []
        assert not list((out / name).glob(".*"))


def test_two_processes_share_a_batch_and_one_dies(forked, sample, tmp_path) -> None:
    """Small and quick; the whole of it below."""
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    incoming.mkdir()
    good = [f"s{n}" for n in range(4)]
    for n, name in enumerate(good):
        cut(sample, incoming / f"{name}.tif", col=300 + 40 * n, width=60, height=50)
    (incoming / "broken.tif").write_bytes(b"")
    model = reflectance_model(tmp_path / "toy.safetensors")
    race(forked, ["batch", incoming, "-o", out, "-m", model], out, good, kills=1, seed=0)
    assert_settled(out, good, ["broken"])


BANDS = "bands: [blue=B02, green=B03, red=B04, nir=B08, swir16=B11, swir22=B12]"
MANIFEST = """
defaults: {{predict: {{device: cpu}}}}
scenes:
  - inputs: [{shared}/virginia_s2_l1c/s2_10m.tif, {shared}/virginia_s2_l1c/s2_20m.tif]
    name: virginia
    read: &s2 {{together: stack, {bands}, scale: 0.0001, offset: 0}}
  - inputs: [{shared}/brandenburg_s2_osm/s2_10m.tif, {shared}/brandenburg_s2_osm/s2_20m.tif]
    name: brandenburg
    read: *s2
  - {{inputs: {shared}/zion_landsat_nlcd/landsat8_b2345.tif, name: zion,
      read: {{bands: [blue=1, green=2, red=3, nir=4], scale: 0.00002, offset: -0.1}}}}
  - inputs: [{landsat}/l8_B2.tif, {landsat}/l8_B3.tif, {landsat}/l8_B4.tif, {landsat}/l8_B5.tif]
    name: gulf
    read: {{together: stack, bands: [blue=l8_B2.tif, green=l8_B3.tif, red=l8_B4.tif, nir=l8_B5.tif], scale: 0.00002,
      offset: -0.1}}
  - {{inputs: {shared}/north_carolina_landsat7/landsat7_b123457.tif, name: carolina,
      read: {{bands: [blue=1, green=2, red=3, nir=4, swir16=5, swir22=6], scale: 0.0015}}}}
  - {{inputs: {shared}/rachel_carson_s2_polygons/s2_b1_b8_8bit.tif, name: rachel,
      read: {{bands: [blue=2, green=3, red=4, nir=8], scale: 0.001, collar: 255}}}}
  - {{inputs: {shared}/scale_rasters/north_dakota_naip_2018_5m.tif, name: dakota,
      read: {{bands: [red=1, green=2, blue=3, nir=4], scale: 0.0015}}}}
  - {{glob: "{incoming}/*.tif"}}
"""
"""The shared scenes that have what the bundled model needs."""
SHARED = ["virginia", "brandenburg", "zion", "gulf", "carolina", "rachel", "dakota"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_shared_scenes_and_five_broken_files(forked, shared, sample, tmp_path) -> None:
    """Killed six times, restarted as often; a rerun does nothing; after mending and `retry` all is well."""
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    incoming.mkdir()
    content = sample.read_bytes()
    for how, damage in DAMAGE.items():
        (incoming / f"{how}.tif").write_bytes(damage(content))
    landsat = shared / "gulf_coast_landsat8_bands"
    text = MANIFEST.format(shared=shared, landsat=landsat, incoming=incoming, bands=BANDS)
    (tmp_path / "m.yaml").write_text(text)
    # As many deaths may meet one scene; by default three of them put it into quarantine.
    call = ["batch", tmp_path / "m.yaml", "-o", out, "-m", "landcover", "--tries", 7]
    race(forked, call, out, SHARED, kills=6, seed=1)
    assert_settled(out, SHARED, list(DAMAGE))

    before = {path.name: states(path) for path in (out, *(out / name for name in SHARED))}
    assert geoseg(*call).code == 3
    assert {path.name: states(path) for path in (out, *(out / name for name in SHARED))} == before
    for number, how in enumerate(DAMAGE):
        (incoming / f"{how}.tif").unlink()  # rasterio would want to read what it replaces
        cut(sample, incoming / f"{how}.tif", col=100 * number, width=200, height=200)
    assert len(geoseg("batch", "retry", out).out.splitlines()) == len(DAMAGE) + 1
    done = geoseg(*call)
    assert done.code == 0, done.err
    assert_settled(out, [*SHARED, *DAMAGE], [])
