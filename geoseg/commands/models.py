"""`geoseg models`: what models are at hand, what they say, how others' become ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.comma_lists import Numbers
from geoseg.door import Bar, show
from geoseg.errors import UsageError
from geoseg.options import COMMON, NETWORK, OUTPUT, READING, settings_from, with_options

if TYPE_CHECKING:
    from geoseg.stories.export_model import Form
    from geoseg.stories.import_model import Imported

OVERWRITE = OUTPUT[:1]  # model files have no lock to break
KIND = click.argument("kind", metavar="NAME")
SHA256 = click.option("--sha256", help="SHA-256 that the file must have.  [default: as published, where it is]")
OUT = click.option(
    "-o", "--out", "output", type=click.Path(path_type=Path), help="Model file.  [default: in the cache, for -m KIND]"
)


@click.group()
def models() -> None:
    """Models at hand."""


@models.command("list")
@with_options(COMMON)
def models_list(as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Models at hand and to be had: what they take and answer, and whether they may be used commercially."""
    from geoseg.stories.list_models import list_models

    found = list_models()
    show(found.to_json, found.lines, as_json=as_json)


@models.command("show")
@click.argument("model")
@with_options(COMMON)
def models_show(model: str, as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Everything that a model file says about itself."""
    import json

    from geoseg.model.file import find_model
    from geoseg.model.licenses import commercial_use_of

    ref = find_model(model)
    use = commercial_use_of(ref.spec)
    spec = json.loads(ref.spec.to_json())
    found = {"sha256": ref.sha256, "path": str(ref.path)}
    show(
        lambda: spec | found | {"commercial_use": use.answer, "commercial_use_because": use.reason},
        lambda: [*_model_lines(spec), f"commercial use: {use.answer} ({use.reason})", str(ref.path)],
        as_json=as_json,
    )


@models.command("pull")
@KIND
@OUT
@click.option("--url", "base", help="Mirror: address of a folder with the same files.  [default: their publisher's]")
@SHA256
@with_options(OVERWRITE, COMMON)
def models_pull(
    kind: str,
    output: Path | None,
    base: str | None,
    sha256: str | None,
    as_json: bool,
    quiet: bool,
    **params: Any,
) -> None:
    """Published weights from the network → model file, checked.

    NAME is dynamicworld (Google's Dynamic World: nine land-cover classes, Sentinel-2 at 10 m), or
    torchgeo:Unet_Weights.MEMBER: field boundaries, tree canopy, … as geoseg models list tells. Proxies are those of
    https_proxy and no_proxy. Besides, only train asks the network, for published weights that it is to start from.
    """
    from geoseg.stories.pull_model import pull_model as story

    Bar(quiet=quiet).note(f"pulling {kind} from {base or 'its public repository'}, if it is not here yet")
    overwrite = bool(params["output__overwrite"])
    _show_imported(story(kind, output, base=base, overwrite=overwrite, sha256=sha256), as_json=as_json)


@models.command("import")
@click.argument("what")
@click.argument("source", type=click.Path(path_type=Path), required=False)
@OUT
@SHA256
@click.option("--spec", "spec_file", type=click.Path(path_type=Path), help="YAML: bands, classes and gsd_m of a FILE.")
@click.option("--trust-model", is_flag=True, help="Read a checkpoint that could execute code: you know who made it.")
@with_options(OVERWRITE, COMMON)
def models_import(
    what: str,
    source: Path | None,
    output: Path | None,
    sha256: str | None,
    spec_file: Path | None,
    as_json: bool,
    **params: Any,
) -> None:
    """Weights on this machine → model file.

    \b
    dynamicworld SOURCE    the SavedModel folder model/forward of Google's repository, or an .npz of its arrays
    torchgeo:… SOURCE      the file (.pth) at the address that geoseg models list --json tells
    FILE.onnx --spec YAML -o NEW.onnx                an ONNX network; what QGIS Deepness' metadata say is known
    FILE.ckpt --spec YAML -o NEW.safetensors         a Lightning checkpoint of TorchGeo's SemanticSegmentationTask
    """
    overwrite = bool(params["output__overwrite"])
    if source is not None:
        from geoseg.stories.import_model import import_model

        if spec_file is not None or params["trust_model"]:
            raise UsageError(f"--spec and --trust-model are for files of others; {what} needs neither.")
        done = import_model(what, source, output, overwrite=overwrite, sha256=sha256)
    elif sha256 is not None:
        raise UsageError(f"--sha256 is for published weights, as torchgeo:… SOURCE; {what} is a file of others.")
    elif spec_file is None or output is None:
        raise UsageError(f"importing {what} needs --spec SPEC.yaml and -o FILE; dynamicworld needs its SOURCE.")
    else:
        from geoseg.stories.import_file import import_file

        done = import_file(Path(what), spec_file, output, trusted=params["trust_model"], overwrite=overwrite)
    _show_imported(done, as_json=as_json)


@models.command("export")
@click.argument("model")
@click.option(
    "--to",
    "form",
    type=click.Choice(["onnx", "mlm", "card"]),
    required=True,
    help="onnx: for other tools and QGIS Deepness; mlm: a STAC MLM item; card: a page in Markdown.",
)
@click.option("-o", "--out", "output", type=click.Path(path_type=Path), required=True, help="The file.")
@click.option("--scale", type=Numbers(), help="onnx: Deepness' reflectance = DN·scale + offset.  [default: 0.0001]")
@click.option("--offset", type=Numbers(), help="See --scale.  [default: 0]")
@with_options(OVERWRITE, COMMON)
def models_export(model: str, form: Form, output: Path, as_json: bool, quiet: bool, **params: Any) -> None:
    """A model in a form that others read; an ONNX file is compared with the model before it is written."""
    from dataclasses import asdict

    from geoseg.stories.export_model import export_model as story

    if form == "onnx":
        Bar(quiet=quiet).note("exporting, then comparing with the model; up to a minute")
    scaling = {name: params[name] or () for name in ("scale", "offset")}
    done = story(model, form, output, overwrite=bool(params["output__overwrite"]), **scaling)
    show(lambda: asdict(done) | {"path": str(done.path)}, done.lines, as_json=as_json)


@models.command("margin")
@click.argument("inputs", nargs=-1, required=True)
@with_options(READING, NETWORK, COMMON)
def models_margin(inputs: tuple[str, ...], as_json: bool, quiet: bool, **params: Any) -> None:
    """Measure on your image how wide a margin a model needs.

    Chips are predicted with growing margins until doubling one changes the class of less than 0.1 % of the pixels.
    Pass the result to run as --margin.
    """
    from dataclasses import asdict

    from geoseg.stories.measure_margin import measure_margin as story

    Bar(quiet=quiet).note("predicting a sample of chips with growing margins")
    found = story(inputs, settings_from(params))
    show(lambda: asdict(found), found.lines, as_json=as_json)


def _show_imported(done: Imported, *, as_json: bool) -> None:
    name, state = f"{done.spec.name} {done.spec.version}", "up to date" if done.up_to_date else "written"
    data = {"model": str(done.path), "name": done.spec.name, "version": done.spec.version}
    show(
        lambda: data | {"published": done.published, "up_to_date": done.up_to_date},
        lambda: [f"{name} {state}: {done.path}"],
        as_json=as_json,
    )


def _metric_lines(metrics: dict[str, Any]) -> list[str]:
    held_out = metrics.get("held_out")
    if not held_out:
        return ["accuracy not measured"]
    per_class = ", ".join(f"{name} {row['iou']:.2f}" for name, row in held_out["classes"].items())
    return [
        f"accuracy {held_out['overall_accuracy']:.3f}, mean IoU {held_out['mean_iou']:.3f} on held-out places",
        f"IoU      {per_class}",
    ]


def _start_lines(training: dict[str, Any]) -> list[str]:
    start, origin = training.get("started_from"), training.get("published")
    return [
        *([] if start is None else [f"started  from {start['name']}, license {start['license']}"]),
        *([] if origin is None else [f"weights  {origin['url']}, SHA-256 {origin['sha256']}"]),
    ]


def _model_lines(spec: dict[str, Any]) -> list[str]:
    classes = ", ".join(f"{c['code']} {c['name']}" for c in spec["classes"])
    bands = ", ".join(b["name"] + (" (optional)" if b["optional"] else "") for b in spec["bands"])
    return [
        f"{spec['name']} {spec['version']}, {spec['license']}",
        spec["purpose"],
        f"bands    {bands}",
        f"classes  {classes}",
        f"pixels   {spec['gsd_m'][0]:g}…{spec['gsd_m'][1]:g} m, chips of {spec['chip']}, margin {spec['margin']}",
        f"data     {'; '.join(d['name'] for d in spec['training_data'])}",
        *_start_lines(spec["training"]),
        *_metric_lines(spec["metrics"]),
        spec["attribution"],
    ]
