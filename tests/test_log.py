"""Events as text and as JSON lines: fields, levels, run ids, and no secret in either."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime, timedelta

import click
import pytest
from cli_kit import Done, geoseg
from hypothesis import given
from hypothesis import strategies as st

from geoseg import log
from geoseg.cli import main
from geoseg.console import Progress, warn
from geoseg.door import Bar
from geoseg.log_options import asks_json
from geoseg.training.progress import EpochRow, FitProgress


@pytest.fixture(autouse=True)
def _as_before():
    yield
    log.configure(anew=True)


def lines(text: str) -> list[dict]:
    """Every line of a log, each of which must be JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_text_is_what_people_read(capsys) -> None:
    log.configure(anew=True)
    warn("odd\nvalues")
    Bar(quiet=False).note("band nir from B08")
    Bar(quiet=True).note("unheard")
    log.say("error", "gone", logging.ERROR, exit_code=66)
    log.tell("tile", "tile 3 done")
    assert capsys.readouterr().err == "warning: odd values\nband nir from B08\nerror: gone\n"


def test_json_lines_hold_the_same_and_more(capsys, monkeypatch) -> None:
    monkeypatch.setenv(log.RUN_ID, "job-17")
    log.configure(as_json=True, anew=True)
    with log.about(scene="S2A_1"):
        warn("odd values")
        with log.about(tile=4):
            log.say("note", "inner", ratio=0.5, names=("a", "b"))
    log.say("error", "gone", logging.ERROR, exit_code=66)
    first, second, third = lines(capsys.readouterr().err)
    told = datetime.fromisoformat(first.pop("time"))
    assert abs(datetime.now(told.tzinfo) - told) < timedelta(minutes=5)
    assert first == {"level": "warning", "run": "job-17", "event": "warning", "scene": "S2A_1", "message": "odd values"}
    assert (second["tile"], second["scene"], second["ratio"], second["names"]) == (4, "S2A_1", 0.5, ["a", "b"])
    assert (third["level"], third["exit_code"], "scene" in third) == ("error", 66, False)


def test_every_call_has_a_run_id_of_its_own(monkeypatch) -> None:
    monkeypatch.delenv(log.RUN_ID, raising=False)
    ids = set()
    for _ in range(2):
        log.configure(anew=True)
        ids.add(log.style().run_id)
    assert len(ids) == 2


def test_verbose_tells_more(capsys) -> None:
    log.configure(verbose=True, anew=True)
    log.tell("tile", "tile 3 done", tile=3)
    with log.stage("segment"):
        pass
    logging.getLogger("geoseg.io.lock").warning("took over lock %s", "x")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "tile 3 done"
    assert said[1].startswith("segment: 0.0")
    assert said[2] == "warning: took over lock x"


def test_a_stage_that_fails_tells_no_time(capsys) -> None:
    log.configure(verbose=True, anew=True)
    with pytest.raises(ZeroDivisionError), log.stage("segment"):
        _ = 1 / 0
    assert capsys.readouterr().err == ""


HOSTS = st.sampled_from(["https://host/x.tif", "http://me:CANARY@host/a/b", "/vsicurl/https://host/y.tif"])


@given(
    before=st.text(st.characters(codec="utf-8", exclude_characters="?#/:'@"), max_size=8),
    host=HOSTS,
    mark=st.sampled_from(["?sig=CANARY", "#CANARY", "?a=1&token=CANARY&b=2", "?CANARY#CANARY"]),
    as_json=st.booleans(),
)
def test_law_no_line_shows_a_secret(before, host, mark, as_json) -> None:
    assert "CANARY" not in line(f"{before} {host}{mark}", as_json=as_json)


def line(text: str, *, as_json: bool) -> str:
    """An event that carries a text in its message and in its fields."""
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "levelno": logging.INFO, "levelname": "INFO"})
    record.geoseg_fields = {"href": text, "inner": [{"key": text}]}
    return log.line_of(record, log.LogStyle(as_json=as_json))


def test_mutation_fields_as_they_are_turn_it_red(monkeypatch) -> None:
    """Named mutation: only the message is redacted."""
    text = "see https://host/x.tif?sig=CANARY"
    assert "CANARY" not in line(text, as_json=True)
    monkeypatch.setattr(log, "_plain", lambda value: value)
    assert "CANARY" in line(text, as_json=True)


def test_progress_and_epochs_are_events(capsys) -> None:
    log.configure(as_json=True, anew=True)
    with Progress(2, 20, label="segment") as progress:
        progress.advance(10)
        progress.advance(10)
    fit = FitProgress()
    fit.begin("fit", 3, 0)
    fit.epoch(EpochRow(1, 0.5, 0.1, None, 2.0))
    half, whole, epoch = lines(capsys.readouterr().err)
    assert (half["event"], half["tiles_done"], half["pixels"]) == ("progress", 1, 20)
    assert whole["tiles_done"] == 2
    assert (epoch["stage"], epoch["epoch"], epoch["loss"]) == ("fit", 1, 0.5)


def test_no_bar_is_drawn_where_lines_are_wanted(monkeypatch) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("geoseg.console.DrawnBar", lambda *given: drawn.append(given))
    for style in ({"as_json": True}, {"verbose": True}):
        log.configure(**style, anew=True)
        with Progress(1, 10):
            assert drawn == []


def commands(group: click.Group, words: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield pytest.param(command, id=" ".join((*words, name)))


@pytest.mark.parametrize("command", list(commands(main)))
def test_every_command_has_both(command) -> None:
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {"--log-format", "-v", "--json"} <= flags


def test_a_usage_error_is_a_json_line_too() -> None:
    for wrong in (["run", "--nonsense"], ["run", "a.tif"], ["fly"], ["run", "a.tif", "-o", "out", "--tile", "big"]):
        done = geoseg(*wrong, "--log-format", "json")
        (told,) = lines(done.err)
        assert (done.code, told["exit_code"], told["level"], told["event"]) == (2, 2, "error", "error")
    assert geoseg("run", "--log-format=xml").code == 2


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("run a --log-format json", True),
        ("--log-format=json run", True),
        ("run --log-format text", False),
        ("json", False),
    ],
)
def test_asks_json(words, answer) -> None:
    assert asks_json(words.split()) is answer


def test_a_users_error_and_the_end(tmp_path, monkeypatch) -> None:
    done = geoseg("info", tmp_path / "no.tif", "--log-format", "json")
    (told,) = lines(done.err)
    assert (done.code, told["exit_code"], told["level"]) == (66, 66, "error")
    assert "no.tif" in told["message"]
    done = geoseg("models", "list", "--json", "--log-format", "json")
    (told,) = lines(done.err)
    assert (done.code, told["event"], told["exit_code"]) == (0, "end", 0)
    assert json.loads(done.out)
    monkeypatch.setattr(sys, "argv", ["geoseg", "info", "--debug"])
    debugged = lines(geoseg("info", tmp_path / "no.tif", "--log-format", "json", "--debug").err)
    assert "InputMissingError" in debugged[0]["traceback"]


def test_a_bug_is_one_json_line(monkeypatch) -> None:
    def broken(*_given: object) -> Done:
        raise RuntimeError("no reason for https://h/x?sig=CANARY")

    monkeypatch.setattr("geoseg.stories.doctor.doctor", broken)
    done = geoseg("doctor", "--log-format", "json")
    (told,) = lines(done.err)
    assert (done.code, told["exit_code"]) == (1, 1)
    assert "RuntimeError" in told["traceback"]
    assert "CANARY" not in done.err


def test_the_last_word_of_an_interrupted_call_is_json() -> None:
    """Out of the thread that ends a process which does not unwind."""
    script = (
        "import signal, sys, time\nfrom geoseg import interrupts, log\ninterrupts.GRACE_S = 0.1\n"
        "log.configure(as_json=True, anew=True)\n"
        "with interrupts.Interrupts():\n    try:\n        signal.raise_signal(signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n        time.sleep(600)\n"
    )
    environment = os.environ | {log.RUN_ID: "job"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    (told,) = lines(done.stderr)
    assert (done.returncode, told["exit_code"], told["run"]) == (143, 143, "job")
    assert told["message"].startswith("terminated")
