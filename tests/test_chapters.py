"""Every chapter works for others: another seed, another folder, with and without optional data.

nbval (see pyproject.toml) shows that the committed outputs are what the code gives. Here the chapters
run as they do for somebody else, where no network exists, and their bars must hold.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from no_network import without_network

from conftest import MIRROR, PRETEND_GPU, REPOSITORY
from utils.notebooks import find_chapters, read_notebook

CHAPTERS = [path.stem for path in find_chapters()]
USES_OPTIONAL_DATA = {
    path.stem
    for path in find_chapters()
    if re.search(r"beijing_available|cora_available", path.read_text(encoding="utf-8"))
}

pytestmark = pytest.mark.chapter


def run_chapter(
    name: str, tmp_path: Path, *options: str, mirror: Path | None = None, **variables: str
) -> dict:
    """Run one chapter as `make run` does, from another folder and offline; return its record."""
    environment = {**os.environ, "COURSE_DATA_CACHE": str(tmp_path / "empty"), **variables}
    if mirror is not None:
        environment["COURSE_DATA_MIRROR"] = str(mirror)
    before = snapshot()
    command = [
        *(sys.executable, "-m", "utils.run", "--chapters", name, "--jobs", "2"),
        *("--build", str(tmp_path / "build"), *options),
    ]
    done = subprocess.run(
        # a namespace without a network could hide a GPU's driver, so only there the plain command
        command if "cuda" in options else without_network(command),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert snapshot() == before, "the chapter wrote into the repository"
    (record,) = json.loads((tmp_path / "build" / "results.json").read_text())["chapters"]
    return record


def snapshot() -> dict[str, int]:
    """Every file that a chapter could have touched, with the time of its last change."""
    return {
        str(path): path.stat().st_mtime_ns
        for folder in ("data", "notebooks", "utils")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "cache", ".DS_Store"} & set(path.parts)
    }


@pytest.mark.parametrize("name", CHAPTERS)
def test_with_another_seed_and_without_optional_data(name, tmp_path):
    record = run_chapter(name, tmp_path, "--seed", "2027", "--device", "cpu")
    assert record["seed"] == 2027
    assert record["metrics"]
    assert all(bar["passed"] for bar in record["bars"])
    assert not any("beijing" in metric or "cora" in metric for metric in record["metrics"])
    stated = stated_seconds(name)
    assert record["seconds"] < 3 * stated + 20, f"the chapter says about {stated} seconds"


@pytest.mark.parametrize("name", sorted(USES_OPTIONAL_DATA))
def test_with_the_optional_data(name, tmp_path, mirror):
    record = run_chapter(name, tmp_path, "--seed", "3", "--device", "cpu", mirror=mirror)
    assert any("beijing" in metric or "cora" in metric for metric in record["metrics"])


@pytest.mark.parametrize("name", [n for n in CHAPTERS if n[:2] not in ("10", "12", "13", "14")])
def test_on_a_pretended_gpu(name, tmp_path):
    """Where there is no GPU, at least nothing is forgotten on the CPU, or moved there too late."""
    options = ("--device", "cuda", "--jobs", "1", "--threads", "1")
    # without the optional data, whose networks would take minutes: each operation is looked at
    record = run_chapter(name, tmp_path, *options, **PRETEND_GPU)
    assert record["device"].startswith("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", CHAPTERS)
def test_on_cuda(name, tmp_path):
    record = run_chapter(name, tmp_path, "--device", "cuda", "--jobs", "1", mirror=MIRROR)
    assert record["device"].startswith("cuda")


def stated_seconds(name: str) -> int:
    """What the chapter's first cell says about its run time."""
    first = read_notebook(REPOSITORY / "notebooks" / f"{name}.ipynb").cells[0].source
    found = re.search(r"\*\*Runs in\*\* about (\d+) seconds on two CPU cores", first)
    assert found, "the first cell does not say how long the chapter runs"
    return int(found[1])
