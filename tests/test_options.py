"""Each flag lands in its field of the settings, over what a file says."""

import dataclasses
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from geoseg import options
from geoseg.commands.stac_inputs import STAC
from geoseg.errors import UsageError
from geoseg.options import settings_from, with_options
from geoseg.settings import OutputSettings, PredictSettings, ReadSettings, RunSettings, VectorSettings

GROUPS = (
    options.READING,
    STAC,
    options.MODEL,
    options.RUNNING,
    options.MEMORY,
    options.VECTOR,
    options.FORMATS,
    options.SCORES,
    options.LEGEND,
    options.ZONES,
    options.NAME,
    options.UPDATE,
    options.OUTPUT,
)
FLAGS = [
    ("--stack", "read.together", "stack"),
    ("--dates", "read.together", "dates"),
    ("--each", "read.together", "each"),
    ("--mosaic", "read.together", "mosaic"),
    ("--overlap latest", "read.overlap", "latest"),
    ("--grid-of a.tif", "read.grid_of", Path("a.tif")),
    ("--bands red=3,nir=B08", "read.bands", ("red=3", "nir=B08")),
    ("--scale 0.0001", "read.scale", (0.0001,)),
    ("--scale 1,2e-5", "read.scale", (1.0, 2e-5)),
    ("--offset -0.1", "read.offset", (-0.1,)),
    ("--nodata 0", "read.nodata", "0"),
    ("--nodata none", "read.nodata", "none"),
    ("--collar 0", "read.collar", "0"),
    ("--collar auto", "read.collar", "auto"),
    ("--valid any", "read.valid", "any"),
    ("--assume-crs EPSG:32618", "read.assume_crs", "EPSG:32618"),
    ("--aoi a.gpkg", "read.aoi", Path("a.gpkg")),
    ("--sensor s2-l2a", "read.sensor", "s2-l2a"),
    ("--mask none", "read.mask", ("none",)),
    ("--mask auto:cloud,snow --mask lakes.gpkg", "read.mask", ("auto:cloud,snow", "lakes.gpkg")),
    ("--mask-buffer 60", "read.mask_buffer", 60.0),
    ("--grid EPSG:2154,10", "read.grid", "EPSG:2154,10"),
    ("--datetime 2018-08-15", "read.datetime", "2018-08-15"),
    ("--sign planetary-computer", "read.sign", "planetary-computer"),
    ("-m forest", "predict.model", "forest"),
    ("--model forest", "predict.model", "forest"),
    ("--device cuda:1", "predict.device", "cuda:1"),
    ("--precision bf16", "predict.precision", "bf16"),
    ("--backend openvino", "predict.backend", "openvino"),
    ("--seam 5%", "predict.seam", "5%"),
    ("--chip 256", "predict.chip", 256),
    ("--margin 0", "predict.margin", 0),
    ("--batch-size 3", "predict.batch_size", 3),
    ("--blend taper", "predict.blend", "taper"),
    ("--tta d4", "predict.tta", "d4"),
    ("--confidence", "predict.confidence", True),
    ("--ambiguity", "predict.ambiguity", True),
    ("--probabilities", "predict.probabilities", True),
    ("--tile 512", "schedule.tile", 512),
    ("--workers 2", "schedule.workers", 2),
    ("--scheduler tcp://a:8786", "schedule.scheduler", "tcp://a:8786"),
    ("--max-memory 4GB", "schedule.max_memory", "4GB"),
    ("--cluster slurm", "schedule.cluster", "slurm"),
    ("--patience 20", "schedule.patience", 20.0),
    ("--skip-classes water,30", "vector.skip_classes", ("water", "30")),
    ("--mmu 0.5ha", "vector.mmu", "0.5ha"),
    ("--mmu-class water=1ha,7=9px", "vector.mmu_class", "water=1ha,7=9px"),
    ("--keep-class river,30", "vector.keep_class", ("river", "30")),
    ("--mmu-connect 8", "vector.mmu_connect", 8),
    ("--simplify 12.5", "vector.simplify", 12.5),
    ("--simplify-outer", "vector.simplify_outer", True),
    ("--smooth", "vector.smooth", True),
    ("--format gpkg,shp", "vector.formats", ("gpkg", "shp")),
    ("--legend worldcover+corine1", "vector.legend", "worldcover+corine1"),
    ("--zones z.gpkg", "vector.zones", Path("z.gpkg")),
    ("--field NAME", "vector.zone_field", "NAME"),
    ("--max-vertices 500", "vector.max_vertices", 500),
    ("--dissolve", "vector.dissolve", True),
    ("--out-crs EPSG:3857", "vector.out_crs", "EPSG:3857"),
    ("--things trees,30", "vector.things", ("trees", "30")),
    ("--split watershed", "vector.split", "watershed"),
    ("--split-radius 9px", "vector.split_radius", "9px"),
    ("--split-depth 0.6m", "vector.split_depth", "0.6m"),
    ("--split-apart 3m", "vector.split_apart", "3m"),
    ("--split-smooth 2m", "vector.split_smooth", "2m"),
    ("--split-score 0.4", "vector.split_score", "0.4"),
    ("--scores c.tif", "vector.scores", Path("c.tif")),
    ("--name scene", "output.name", "scene"),
    ("--overwrite", "output.overwrite", True),
    ("--update", "output.update", True),
    ("--restart", "output.restart", True),
    ("--break-lock", "output.break_lock", True),
]


def call(arguments, base=None):
    """What a command with all options makes of its arguments."""
    seen = []

    @click.command()
    @with_options(*GROUPS)
    def command(**params):
        seen.append(settings_from(params, base))

    result = CliRunner().invoke(command, arguments.split(), standalone_mode=False)
    if result.exception:
        raise result.exception
    return seen[0]


def with_value(settings, place, value):
    section, name = place.split(".")
    return dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **{name: value})})


@pytest.mark.parametrize(("flag", "place", "value"), FLAGS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_flag_lands_in_its_field_and_nowhere_else(flag, place, value):
    assert call(flag) == with_value(RunSettings(), place, value)


def test_every_field_has_a_flag():
    fields = {
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(RunSettings)
        for field in dataclasses.fields(getattr(RunSettings(), section.name))
    }
    fields.remove("schedule.cluster_options")  # a mapping: YAML only
    assert fields == {place for _, place, _ in FLAGS}


def test_no_flags_no_changes():
    base = RunSettings(
        read=ReadSettings(scale=(0.5,), together="stack"),
        predict=PredictSettings(confidence=True, chip=64),
        vector=VectorSettings(formats=("shp",)),
        output=OutputSettings(overwrite=True),
    )
    assert call("", base) == base


def test_flags_win_over_the_file():
    base = RunSettings(read=ReadSettings(scale=(0.5,), offset=(1.0,)), predict=PredictSettings(chip=64))
    settings = call("--scale 2 --device cpu", base)
    assert settings.read == ReadSettings(scale=(2.0,), offset=(1.0,))
    assert settings.predict == PredictSettings(chip=64, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--scale a", "'a' is not a number"),
        ("--scale 1,,2", "'1,,2' is not a number"),
        ("--chip big", "'big' is not a valid integer"),
        ("--collar 1", "'1' is not one of"),
        ("--precision int8", "'int8' is not one of"),
    ],
)
def test_malformed_values_are_clicks_errors(arguments, message):
    with pytest.raises(click.UsageError, match=message):
        call(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--device gpu", "--device 'gpu'"),
        ("--tile 0", "--tile 0"),
        ("--workers 2 --scheduler tcp://a:1", "give one of them"),
        ("--format kml", "--format 'kml'"),
        ("--format ,", "--format is empty"),
    ],
)
def test_values_out_of_range_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        call(arguments)
    assert caught.value.exit_code == 2


def test_the_last_of_two_words_for_the_inputs_counts():
    assert call("--each --stack").read.together == "stack"
