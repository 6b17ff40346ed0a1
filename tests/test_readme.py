"""What README.md and configs/ say is true: commands, flags, files, and the example itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest
from cli_kit import geoseg, names_in

from geoseg.cli import main
from geoseg.config import load_settings
from geoseg.io.legend_file import read_legend_file
from geoseg.io.record import verify_record
from geoseg.manifest.read import read_scenes
from geoseg.model.file import bundled
from geoseg.products.preset import load_preset

ROOT = Path(__file__).parents[1]
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/*.md"), *ROOT.glob("data/*.md")})
SEPARATORS = {"&&", "||", "|", ";", "&"}


def shell_calls(text: str) -> Iterator[list[str]]:
    """Words of every call of geoseg in the ```bash blocks of a page; comments and continued lines understood."""
    for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            cuts = [-1, *(i for i, word in enumerate(words) if word in SEPARATORS), len(words)]
            for before, after in pairwise(cuts):
                call = words[before + 1 : after]
                if call and Path(call[0]).name == "geoseg":
                    yield call[1:]


def inline_calls(text: str) -> Iterator[list[str]]:
    """The same of `geoseg …` in running text; words like INPUT and … stand for something."""
    for code in re.findall(r"`geoseg ([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield code.split()


CALLS = [
    pytest.param(call, id=f"{page.relative_to(ROOT)}: {' '.join(call)[:60]}")
    for page in PAGES
    for find in (shell_calls, inline_calls)
    for call in find(page.read_text(encoding="utf-8"))
]


def command_of(call: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that a call names, and its remaining words."""
    command: click.Command = main
    words = list(call)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0] not in command.commands and hasattr(command, "default"):
            words.insert(0, command.default)
        found = command.commands.get(words[0])
        assert found is not None, f"no command {words[0]!r} in {sorted(command.commands)}"
        command, words = found, words[1:]
    return command, words


def flags_of(command: click.Command) -> set[str]:
    context = click.Context(command, help_option_names=["-h", "--help"])
    return {flag for parameter in command.get_params(context) for flag in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_that_is_shown_exists(call) -> None:
    command, words = command_of(call)
    given = {word.partition("=")[0] for word in words if re.fullmatch(r"-[a-z]|--[a-z][-a-z0-9]*(=.*)?", word)}
    assert given <= flags_of(command)


def test_the_readme_shows_what_it_must() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- run-command -->" in text
    assert "<!-- test-command -->" in text
    assert any(call[:1] == ["run"] for call in shell_calls(text))


def test_a_flag_that_is_not_there_turns_it_red() -> None:
    (call,) = shell_calls("```bash\nset -e && .venv/bin/geoseg run a.tif \\\n  -o out --nonsense  # --comment\n```")
    assert call == ["run", "a.tif", "-o", "out", "--nonsense"]
    with pytest.raises(AssertionError, match="nonsense"):
        test_every_call_that_is_shown_exists(call)
    with pytest.raises(AssertionError, match="no command 'fly'"):
        test_every_call_that_is_shown_exists(["fly"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_links_are_there(page) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/**/*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_loads(path) -> None:
    if path.parent.name in {"run", "cluster"}:
        load_settings(path)
    elif path.parent.name == "train":
        from geoseg.training.recipe import read_recipe

        read_recipe(path)
    elif path.parent.name == "sensors":
        preset = load_preset(path)
        assert preset.bands or preset.variants
    elif path.parent.name == "batch":
        assert read_scenes([str(path)])
    else:
        assert len(read_legend_file(path).scheme)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/[rb]*/*.yaml")), ids=lambda path: path.name)
def test_calls_in_comments_of_settings_exist(path) -> None:
    comments = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    for line in comments:
        if line.startswith("geoseg "):
            test_every_call_that_is_shown_exists(shlex.split(line)[1:])


def test_the_first_command_segments_the_sample(tmp_path, monkeypatch) -> None:
    """As the README has it, but into another folder and without building the environment again."""
    if "landcover" not in bundled():
        pytest.skip("this build carries no bundled model")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- run-command -->")[1]
    call = next(shell_calls(block))
    monkeypatch.chdir(ROOT)
    place = call.index("-o") + 1
    done = geoseg(*call[:place], tmp_path / "out", *call[place + 1 :])
    assert done.code == 0, done.err
    stem = Path(call[1]).stem
    promised = {
        "classes.tif",
        "classes.tif.aux.xml",
        "classes.qml",
        "polygons.gpkg",
        "preview.png",
        "report.html",
        "json",
        "tiles.parquet",
    }
    assert {f"{stem}.{rest}" for rest in promised} <= names_in(tmp_path / "out")
    assert verify_record(tmp_path / "out" / f"{stem}.json") == []
