"""What a model is, as a page for people: Markdown from nothing but the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geoseg.model.licenses import commercial_use_of
from geoseg.model.onnx_file import ARCHITECTURE
from geoseg.model.spec import Band, ModelSpec

WEAK = 0.3
"""IoU below which a class is told to be weak."""


def model_card(spec: ModelSpec, called: str) -> str:
    """The card of a model.

    Args:
        spec: of the model.
        called: what users write after -m.
    """
    parts = (
        _head(spec),
        _facts(spec),
        _input(spec),
        _accuracy(spec),
        _data(spec),
        _limits(spec),
        _use(spec, called),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _head(spec: ModelSpec) -> Iterator[str]:
    yield f"# {spec.name} {spec.version}"
    yield ""
    yield spec.purpose or "Its maker does not say what it is for."
    if spec.demonstration:
        yield ""
        yield "**A demonstration, not good enough for reporting.**"


def _facts(spec: ModelSpec) -> Iterator[str]:
    use = commercial_use_of(spec)
    low, high = spec.gsd_m
    optional = [band.name for band in spec.bands if band.optional]
    classes = " · ".join(f"{c.code} {c.name}{' (things)' if c.thing else ''}" for c in spec.classes.classes)
    chips = f"{spec.chip}, {spec.stride}, {spec.margin} pixels"
    rows = {
        "network": _network(spec),
        "bands": ", ".join(spec.band_names) + (f"; optional: {', '.join(optional)}" if optional else ""),
        "pixel size": f"{low:g} m" if low == high else f"{low:g} to {high:g} m",
        "chip, stride, margin": chips + ("; no other chip size" if spec.fixed_chip else ""),
        "classes": classes,
        "temperature": f"{spec.temperature:g}",
        "license": spec.license,
        "commercial use": f"{use.answer} ({use.reason})",
    }
    if spec.default_mmu:
        rows["minimum mapping unit"] = spec.default_mmu
    yield from _table(("", ""), list(rows.items()))


def _network(spec: ModelSpec) -> str:
    arch = spec.architecture
    if arch.name == ARCHITECTURE:
        inner = arch.options.get("network") or {}
        made = " ".join(filter(None, (inner.get("name"), inner.get("encoder"))))
        return f"ONNX graph{f' of {made}' if made else ''}"
    options = ", ".join(f"{key} {value}" for key, value in arch.options.items())
    return f"{arch.name}{f', encoder {arch.encoder}' if arch.encoder else ''}{f'; {options}' if options else ''}"


def _input(spec: ModelSpec) -> Iterator[str]:
    what = "reflectance (DN · scale + offset of the scene)" if spec.unit == "reflectance" else "stored numbers"
    yield "## Input"
    yield ""
    yield f"Bands as {what}, normalized by the model itself; what is invalid enters the network as 0."
    yield ""
    rows = [(b.name, _curve(b), f"{b.plausible[0]:g} … {b.plausible[1]:g}", _quantiles(b)) for b in spec.bands]
    yield from _table(("band", "normalization", "plausible", "training data: p1, median, p99"), rows)


def _curve(band: Band) -> str:
    value = "v" if (band.scale, band.offset) == (1, 0) else f"v · {band.scale:g} + {band.offset:g}"
    inner = value if value == "v" or band.curve != "linear" else f"({value})"
    if band.curve == "linear":
        return f"({inner} − {band.mean:g}) / {band.std:g}"
    return f"sigmoid(5 · (ln(0.005 · ({value}) + 1) − {band.mean:g}) / {band.std:g} − 1)"


def _quantiles(band: Band) -> str:
    return "not known" if band.quantiles is None else ", ".join(f"{value:g}" for value in band.quantiles)


def _accuracy(spec: ModelSpec) -> Iterator[str]:
    yield "## Accuracy"
    yield ""
    found = spec.metrics.get("held_out")
    if not isinstance(found, Mapping):
        yield "Not measured."
        return
    split = f" ({spec.metrics['split']})" if spec.metrics.get("split") else ""
    overall, mean = (_number(found, key) for key in ("overall_accuracy", "mean_iou"))
    yield f"On held-out data{split}: overall {overall}, mean IoU {mean}."
    yield ""
    columns = ("pixels", "iou", "f1", "users_accuracy", "producers_accuracy")
    classes = found.get("classes") or {}
    rows = [(name, *(_number(classes[name], key) for key in columns)) for name in spec.classes.names if name in classes]
    yield from _table(("class", "pixels", "IoU", "F1", "user's accuracy", "producer's accuracy"), rows)
    baseline = spec.metrics.get("baseline")
    if isinstance(baseline, Mapping):
        yield ""
        yield (
            f"For comparison, {baseline.get('name', 'a baseline')}: overall {_number(baseline, 'overall_accuracy')}, "
            f"mean IoU {_number(baseline, 'mean_iou')}."
        )


def _number(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return str(row.get("not_assessable", "–"))
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _data(spec: ModelSpec) -> Iterator[str]:
    yield "## Training data"
    yield ""
    if not spec.training_data:
        yield "Not stated."
    for data in spec.training_data:
        facts = [str(data[key]) for key in ("license", "attribution", "url") if data.get(key)]
        boxes = len(data.get("footprints") or ())
        places = f"; {boxes} footprints in the spec" if boxes else ""
        yield f"- {data.get('name', 'unnamed')}: {'; '.join(facts) or 'license not stated'}{places}"
    if start := spec.training.get("started_from"):
        yield f"- started from {start.get('name')}, license {start.get('license')}"
    yield ""
    yield f"Attribution: {spec.attribution}"


def _limits(spec: ModelSpec) -> Iterator[str]:
    low, high = spec.gsd_m
    yield "## Limits"
    yield ""
    yield f"- Pixels finer than {low:g} m or coarser than {high:g} m are resampled to that; far outside is refused."
    if spec.unit == "reflectance":
        yield "- It needs reflectance: a wrong or missing scale or offset gives a wrong map."
    drift = (spec.metrics.get("margin_disagreement") or {}).get(str(spec.margin))
    told = f": doubling it changes {drift:.2%} of the pixels" if drift is not None else ", not measured on this page"
    yield f"- Each chip's outer {spec.margin} pixels are not used{told}."
    classes = (spec.metrics.get("held_out") or {}).get("classes", {})
    for name in spec.classes.names:
        row = classes.get(name, {})
        if row.get("not_assessable"):
            yield f"- {name}: not assessed ({row['not_assessable']})."
        elif row.get("iou") is not None and row["iou"] < WEAK:
            yield f"- {name} is weak: IoU {row['iou']:.2f} on held-out data."


def _use(spec: ModelSpec, called: str) -> Iterator[str]:
    bands = ",".join(f"{band.name}=…" for band in spec.bands if not band.optional)
    yield "## Use"
    yield ""
    yield "```bash"
    yield f"geoseg info scene.tif -m {called}            # does the scene fit?"
    yield f"geoseg run scene.tif -m {called} -o out      # class raster, polygons, report"
    yield "```"
    yield ""
    yield f"Where the bands have no descriptions: `--bands {bands}`, with their numbers."


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
