"""The design's layers, read from the imports: lower rooms never import higher ones, libraries stay in theirs."""

from __future__ import annotations

import ast
import fnmatch
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import geoseg

PACKAGE = Path(geoseg.__file__).parent
WORDS = "numpy affine pyproj"
NETWORKS = "torch torchgeo segmentation_models_pytorch timm safetensors"


@dataclass(frozen=True)
class Room:
    """Modules (a pattern), their layer, and the third-party packages that they may import."""

    pattern: str
    layer: int
    libraries: str = ""


# The first pattern that fits counts, so exceptions stand above their rule.
ROOMS = (
    # 0 words
    Room("geoseg.errors", 0),
    Room("geoseg.grid", 0, WORDS),
    Room("geoseg.classes", 0, WORDS),
    Room("geoseg.arrays", 0, WORDS),
    Room("geoseg.settings", 0, WORDS),
    Room("geoseg.object_settings", 0),
    Room("geoseg.predict_settings", 0),
    Room("geoseg.spelling", 0),
    Room("geoseg.ground", 0, WORDS),
    Room("geoseg.shipped", 0),
    Room("geoseg.batch_settings", 0),
    Room("geoseg.moment", 0),
    Room("geoseg.legend", 0, WORDS),
    Room("geoseg.things", 0),
    Room("geoseg.log", 0),
    # 1 pure
    Room("geoseg.tiling.plan", 1, WORDS),
    Room("geoseg.tiling.blend", 1, WORDS),
    Room("geoseg.tiling.seam", 1, WORDS),
    Room("geoseg.tiling.tta", 1, WORDS),
    Room("geoseg.tiling.reads", 1, WORDS),
    Room("geoseg.tiling.result", 1, WORDS),
    Room("geoseg.model.spec", 1, WORDS),
    Room("geoseg.model.normalize", 1, WORDS),
    Room("geoseg.model.fit", 1, WORDS),
    Room("geoseg.polygons.*", 1, f"{WORDS} numba shapely"),
    Room("geoseg.footprint", 1, f"{WORDS} shapely"),
    Room("geoseg.style", 1, WORDS),
    Room("geoseg.transitions", 1),
    Room("geoseg.run_sums", 1, WORDS),
    Room("geoseg.voting", 1, f"{WORDS} numba"),
    Room("geoseg.quality", 1, WORDS),
    Room("geoseg.zones.*", 1, f"{WORDS} shapely"),
    Room("geoseg.quality_layouts", 1, WORDS),
    Room("geoseg.lookup", 1, f"{WORDS} numba"),
    Room("geoseg.accuracy.*", 1, f"{WORDS} numba"),
    # 2 edges
    Room("geoseg.io.stac_search", 2, "pystac_client requests"),
    Room("geoseg.io.*", 2, f"{WORDS} shapely rasterio pyogrio pyarrow geopandas openpyxl psutil"),
    Room("geoseg.model.mlm", 2),
    Room("geoseg.model.*", 2, f"{WORDS} {NETWORKS} onnx onnxruntime onnxscript openvino"),
    Room("geoseg.strict_yaml", 2, "yaml"),
    Room("geoseg.products.*", 2, f"{WORDS} rasterio pydantic"),
    Room("geoseg.training.recipe*", 2, "pydantic"),  # the training settings' own YAML
    Room("geoseg.training.label_check", 2, f"{WORDS} shapely"),
    Room("geoseg.training.label_sources", 2, f"{WORDS} shapely"),
    Room("geoseg.training.leaks", 2, f"{WORDS} shapely"),
    Room("geoseg.training.*", 2, f"{WORDS} {NETWORKS} lightning"),
    Room("geoseg.tiling.*", 2, f"{WORDS} dask distributed dask_jobqueue"),
    Room("geoseg.picture", 2, f"{WORDS} PIL"),
    Room("geoseg.charts", 2, f"{WORDS} PIL"),
    Room("geoseg.lettering", 2, f"{WORDS} PIL"),
    Room("geoseg.stac", 2, f"{WORDS} shapely"),
    Room("geoseg.console", 2, "rich"),
    Room("geoseg.ledger.*", 2),
    Room("geoseg.report.*", 2, f"{WORDS} PIL jinja2"),
    # 3 stories
    Room("geoseg.stories.*", 3, "numpy"),
    # 4 door
    Room("geoseg.cli", 4, "click"),
    Room("geoseg.door", 4, "click"),
    Room("geoseg.interrupts", 4),
    Room("geoseg.commands.*", 4, "click"),
    Room("geoseg.options", 4, "click"),
    Room("geoseg.comma_lists", 4, "click"),
    Room("geoseg.log_options", 4, "click"),
    Room("geoseg.object_options", 4, "click"),
    Room("geoseg.config", 4, "pydantic"),
    Room("geoseg.manifest.*", 4, "pydantic"),
    Room("geoseg.__main__", 4),
    Room("geoseg", 4),
)
# Rooms whose libraries are narrower than their neighbors': each library is at home in few modules.
HOMES = {
    "dask": ("geoseg.tiling.*", "geoseg.io.scene"),
    "rich": ("geoseg.console",),
    "lightning": ("geoseg.training.*",),
    "onnx": ("geoseg.model.export_onnx",),
    "onnxruntime": ("geoseg.model.backend_onnx", "geoseg.model.export_onnx"),
    "onnxscript": ("geoseg.model.export_onnx",),
}
PACKAGES = {
    "geoseg.accuracy",
    "geoseg.commands",
    "geoseg.io",
    "geoseg.ledger",
    "geoseg.manifest",
    "geoseg.model",
    "geoseg.polygons",
    "geoseg.products",
    "geoseg.report",
    "geoseg.stories",
    "geoseg.tiling",
    "geoseg.training",
    "geoseg.zones",
}


def room_of(module: str) -> Room:
    """The room of a module; a package's own `__init__` is a room without libraries, below all others.

    Raises:
        LookupError: the module is not in the table: the design must say where it belongs.
    """
    if module in PACKAGES:
        return Room(module, 0)
    for room in ROOMS:
        if fnmatch.fnmatchcase(module, room.pattern):
            return room
    raise LookupError(f"{module} stands in no room of the table; add it where the design puts it.")


def modules(package: Path = PACKAGE) -> dict[str, str]:
    """Dotted name → source, of all modules."""
    out = {}
    for path in sorted(package.rglob("*.py")):
        parts = ["geoseg", *path.relative_to(package).with_suffix("").parts]
        out[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return out


def imports(source: str, known: set[str]) -> set[str]:
    """All imported modules, those inside functions and under TYPE_CHECKING too.

    `from geoseg.io import read` counts as geoseg.io.read; `from geoseg import __version__` as nothing, since
    that text is the one thing that all rooms may take from the door.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner != "geoseg.__version__":
                    found.add(inner if inner in known else node.module or "")
    return found


def violations(sources: dict[str, str]) -> list[str]:
    """What breaks the design, one line each."""
    out = []
    for module, source in sources.items():
        room = room_of(module)
        for target in sorted(imports(source, set(sources))):
            top = target.partition(".")[0]
            if top == "geoseg":
                other = room_of(target)
                if other.layer > room.layer:
                    out.append(f"{module} (layer {room.layer}) imports {target} (layer {other.layer})")
            elif top not in sys.stdlib_module_names and not may_import(module, room, top):
                out.append(f"{module} imports {top}, which is not at home there")
    return out


def may_import(module: str, room: Room, library: str) -> bool:
    if library in HOMES:
        return any(fnmatch.fnmatchcase(module, pattern) for pattern in HOMES[library])
    return library in room.libraries.split()


def test_imports_obey_the_layers() -> None:
    assert violations(modules()) == []


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("geoseg.grid", "from geoseg.io.read import read_chip", "geoseg.grid (layer 0) imports geoseg.io.read"),
        ("geoseg.grid", "from geoseg.io import read", "geoseg.grid (layer 0) imports geoseg.io.read"),
        ("geoseg.io.read", "import geoseg.stories.train", "imports geoseg.stories.train (layer 3)"),
        ("geoseg.io.read", "def f():\n    from geoseg import run", "imports geoseg (layer 4)"),
        ("geoseg.errors", "import numpy", "geoseg.errors imports numpy"),
        ("geoseg.io.read", "def f():\n    import torch.nn", "geoseg.io.read imports torch"),
        ("geoseg.io.read", "if TYPE_CHECKING:\n    from dask.array import Array", "imports dask"),
        ("geoseg.stories.train", "import rasterio", "geoseg.stories.train imports rasterio"),
    ],
)
def test_a_planted_violation_is_found(module: str, line: str, complaint: str) -> None:
    sources = dict.fromkeys(modules(), "")  # only what is planted counts
    sources[module] = line
    found = violations(sources)
    assert len(found) == 1
    assert complaint in found[0]


def test_a_module_without_a_room_is_refused() -> None:
    with pytest.raises(LookupError, match=r"geoseg\.surprise stands in no room"):
        violations({"geoseg.surprise": ""})


def test_modules_stay_small() -> None:
    long = {name: lines for name, text in modules().items() if (lines := len(text.splitlines())) > 300}
    assert long == {}


def test_functions_stay_small() -> None:
    long = {}
    for name, text in modules().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > 45:
                    long[f"{name}.{node.name}"] = lines
    assert long == {}


def test_no_module_shares_its_name_with_a_public_function() -> None:
    public = {name for name in geoseg.__all__ if not name.startswith("_")}
    assert public & {path.stem for path in PACKAGE.glob("*") if path.suffix in {"", ".py"}} == set()
