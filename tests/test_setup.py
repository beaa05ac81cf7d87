"""The ways to install agree, and the commands that the README names exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NAMED_BY_THE_COURSE = [
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "matplotlib",
    "seaborn",
    "jupyterlab",
    "nbval",
    "papermill",
]


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.split("#")[0].strip()]


def test_everything_is_pinned_and_the_helper_package_comes_last():
    *pinned, last = requirements("requirements.txt")
    assert last == "-e ."
    for line in pinned:
        (specifier,) = Requirement(line).specifier
        assert specifier.operator == "==", line


def test_what_the_course_uses_is_in_the_pinned_list():
    pinned = {Requirement(line).name for line in requirements("requirements.txt")[:-1]}
    direct = {Requirement(line).name for line in requirements("requirements.in")}
    assert set(NAMED_BY_THE_COURSE) <= direct <= pinned


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert {"pip": ["-r requirements.txt"]} in environment["dependencies"]
    names = [d.split("=")[0] for d in environment["dependencies"] if isinstance(d, str)]
    assert names == ["python", "pip"]  # no package in two places


def test_no_address_of_an_index_is_in_the_requirements():
    for name in ("requirements.txt", "requirements.in", "environment.yml", "pyproject.toml"):
        assert "://" not in (ROOT / name).read_text().replace("https://docs.astral.sh/uv/", "")


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))


def test_every_make_command_in_the_documents_exists_and_help_lists_them():
    targets = make_targets()
    help_text = (ROOT / "Makefile").read_text().split("help:")[1].split("setup:")[0]
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = set(
            re.findall(r"`make ([a-z][a-z0-9-]*)|^make ([a-z][a-z0-9-]*)", text, re.MULTILINE)
        )
        named = {a or b for a, b in named}
        assert named, name
        assert named <= targets, f"{name} names {named - targets}"
    assert all(f"make {t}" in help_text for t in targets - {"help", "setup"})


def test_every_module_command_in_the_readme_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python -m utils\.(\w+)", text))
    assert {"run", "doctor"} <= named
    assert all((ROOT / "utils" / f"{name}.py").exists() for name in named)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_is_too_old_is_refused_in_one_sentence(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the version test of the Makefile comes to
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"],
        cwd=tmp_path,
        # a make that runs this suite hands its own variables down
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_workflow_runs_the_two_commands_on_three_systems():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    job = workflow["jobs"]["test"]
    commands = [step.get("run", "") for step in job["steps"]]
    assert any(c.startswith("make run") for c in commands)
    assert any(c.startswith("make test") for c in commands)
    matrix = job["strategy"]["matrix"]
    systems = {*matrix["os"], *(entry["os"] for entry in matrix["include"])}
    assert {s.split("-")[0] for s in systems} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
