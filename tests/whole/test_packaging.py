"""What starts a listener with the machine: the unit of systemd and the container's file."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spectro.cli.app import app

FOLDER = Path(__file__).parents[2] / "packaging"
GUIDE = FOLDER.parent / "docs" / "field-guide.md"
UNIT, CONTAINER = FOLDER / "spectro-listen.service", FOLDER / "Containerfile"


def words_of_unit() -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    return shlex.split(line)


def words_of_container() -> list[str]:
    (line,) = re.findall(r"^ENTRYPOINT (.*)$", CONTAINER.read_text(), re.MULTILINE)
    words: list[str] = json.loads(line)
    return words


@pytest.mark.parametrize(
    "words", [words_of_unit(), words_of_container()], ids=["unit", "container"]
)
def test_options_are_those_of_the_command(words: list[str]) -> None:
    assert words[0].rpartition("/")[2] == "spectro"
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, [words[1], "--help"]).output
    for option in (word for word in words if word.startswith("--")):
        assert f"{option} " in told


@pytest.mark.parametrize("told", [UNIT, GUIDE], ids=["unit", "guide"])
def test_what_the_unit_runs_is_made_by_commands_that_are_told(told: Path) -> None:
    text = told.read_text()
    home = str(Path(words_of_unit()[0]).parents[1])
    assert re.search(rf"^#\s+python3 -m venv {home}$", text, re.MULTILINE)
    command = rf"^#\s+{home}/bin/pip install '\.\[(.*)\]' -c constraints\.txt$"
    [extras] = re.findall(command, text, re.MULTILINE)
    assert set(extras.split(",")) == {"mic", "metrics", "mqtt"}
    [user] = re.findall(r"^User=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert re.search(rf"^#\s+useradd .* {user}$", text, re.MULTILINE)


@pytest.mark.parametrize("file", [UNIT, CONTAINER], ids=["unit", "container"])
def test_it_runs_as_an_ordinary_user(file: Path) -> None:
    users = re.findall(r"^(?:User=|USER )(.*)$", file.read_text(), re.MULTILINE)
    assert users and not {"root", "0"} & set(users)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
def test_systemd_has_nothing_to_say_of_the_unit() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert [line for line in told if "is not executable" not in line] == []
