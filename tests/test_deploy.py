"""Files for schedulers and containers: their linters, where one is here; every command and flag in them exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from geoseg.cli import main
from geoseg.interrupts import STOPS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "configs" / "deploy"
DOCKERFILES = sorted(path for path in DEPLOY.glob("Dockerfile.*") if path.suffix != ".dockerignore")
SHELL = ("&&", ";", "|")


def text_of(name: str) -> str:
    """A file without its comments, continued lines joined."""
    lines = (line for line in (DEPLOY / name).read_text().splitlines() if not line.lstrip().startswith("#"))
    return "\n".join(lines).replace("\\\n", " ")


def calls(text: str) -> list[list[str]]:
    """Words of every call of geoseg, wherever in a line it begins."""
    found = []
    for line in text.splitlines():
        for hit in re.finditer(r"(?:^|[\s=/])geoseg (?=([a-z].*))", line):
            words = shlex.split(hit[1])
            if words[0] in {*main.commands, "batch"}:
                found.append(words)
    return found


CALLS = [
    pytest.param(call, id=f"{path.name}: {' '.join(call)[:50]}")
    for path in sorted(DEPLOY.iterdir())
    if path.suffix in {".service", ".cron", ".sbatch"}
    for call in calls(text_of(path.name))
]


def test_each_scheduler_calls_the_batch() -> None:
    assert [call.values[0][0] for call in CALLS] == ["batch"] * 3


@pytest.mark.parametrize("call", CALLS)
def test_commands_and_flags_exist(call) -> None:
    command = main.commands.get(call[0])
    if command is None:
        pytest.skip(f"this build has no geoseg {call[0]}")
    while isinstance(command, click.Group):
        following = next((word for word in call[1:] if word in command.commands), "run")
        command = command.commands[following]
    flags = {flag for parameter in command.params for flag in parameter.opts}
    given = {word.partition("=")[0] for word in call if re.fullmatch(r"--?[a-z][-a-z]*(=.*)?", word)}
    assert given
    assert given <= flags


def run(tool: str, *args: object) -> subprocess.CompletedProcess[str]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not here")
    return subprocess.run([tool, *map(str, args)], capture_output=True, text=True, check=False)


def test_systemd_accepts_the_units(tmp_path) -> None:
    """The program's path is the only thing that is changed: systemd looks whether it is there."""
    program = shutil.which("true")
    for name in ("geoseg-batch.service", "geoseg-batch.timer"):
        text = (DEPLOY / name).read_text().replace("/opt/geoseg/bin/geoseg", str(program))
        (tmp_path / name).write_text(text)
    done = run("systemd-analyze", "verify", *sorted(tmp_path.iterdir()))
    told = [line for line in (done.stdout + done.stderr).splitlines() if "geoseg" in line]
    assert (done.returncode, told) == (0, [])


def settings(name: str) -> dict[str, str]:
    """Key → value of a unit."""
    return dict(line.split("=", 1) for line in text_of(name).splitlines() if "=" in line)


def test_the_unit_knows_our_exit_codes() -> None:
    unit = settings("geoseg-batch.service")
    stops = {str(code) for code, told in STOPS.values() if told == "terminated"}
    assert {unit["SuccessExitStatus"]} == stops
    assert unit["RestartForceExitStatus"] == "75"
    assert int(unit["TimeoutStopSec"]) > 10
    assert unit["KillMode"] == "mixed"


def test_the_shell_reads_the_job_script() -> None:
    assert run("bash", "-n", DEPLOY / "geoseg-array.sbatch").returncode == 0
    done = run("shellcheck", DEPLOY / "geoseg-array.sbatch")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("code", "ends", "requeued"), [(0, 0, False), (3, 3, False), (75, 75, True), (143, 143, True), (65, 65, False)]
)
def test_the_job_script_requeues_what_can_go_on(code, ends, requeued, tmp_path) -> None:
    (tmp_path / "srun").write_text(f'#!/bin/sh\necho "$GEOSEG_RUN_ID $*"\nexit {code}\n')
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@"\n')
    for tool in ("srun", "scontrol"):
        (tmp_path / tool).chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "71"}
    environment = slurm | {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/home/me"}
    script = ["bash", str(DEPLOY / "geoseg-array.sbatch")]
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=environment)
    first, *rest = done.stdout.splitlines()
    manifest, out = "/home/me/geoseg/manifest.yaml", "/home/me/geoseg/out"
    assert first == f"71_3 geoseg batch {manifest} -o {out} --shard 3/8 --log-format json"
    assert (done.returncode, rest) == (ends, ["requeue 71_3"] if requeued else [])


def test_cron_gets_one_job_of_six_columns() -> None:
    lines = [line for line in text_of("geoseg.cron").splitlines() if line]
    variables = [line for line in lines if re.fullmatch(r"[A-Z_]+=.*", line)]
    (job,) = [line for line in lines if line not in variables]
    assert re.fullmatch(r"(?:[\d*]+ ){5}geoseg flock -n -E 0 \S+ timeout -k 60 4h30m geoseg batch .*", job)
    assert "%" not in job  # cron takes it for the end of the line
    for tool in ("flock", "timeout"):
        if shutil.which(tool):
            assert "-k" in run("timeout", "--help").stdout
            assert "-E" in run("flock", "--help").stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles(path) -> None:
    text = text_of(path.name)
    assert re.search(r"^USER \d{4,}$", text, re.MULTILINE)
    assert 'ENTRYPOINT ["geoseg"]' in text
    assert "PIP_NO_CACHE_DIR=1" in text
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'pip install "\.\[(.*)\]"', text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    bounds = [line for line in project["dependencies"] if line.startswith("torch>=")]
    assert all(f'"{line}"' in text for line in bounds)
    done = run("hadolint", path)
    assert done.returncode == 0, done.stdout
