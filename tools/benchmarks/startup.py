"""What it costs to start a chapter in a kernel, beside the same code as a plain script."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nbformat import v4

from utils.notebooks import code_cells, read_notebook, repository_root, write_notebook
from utils.run import kernel_environment
from utils.runtime import CourseError

WHOLE = ("01",)
"""Chapters that are also run from top to bottom in both ways."""


def run(chapter: Path, threads: int) -> dict[str, Any]:
    """Time the first two code cells of a chapter, parameters and set-up, in both ways.

    Args:
        chapter: the notebook.
        threads: threads of each process.

    Returns:
        Wall seconds: ``kernel``, from the start of the headless worker until the set-up cell is done,
        and ``script``, of a process that runs the two cells. For some chapters also
        ``kernel_whole`` and ``script_whole``, for all cells.

    Raises:
        CourseError: one of the two fails.
    """
    sources = [cell.source for _, cell in code_cells(read_notebook(chapter))]
    record = {"chapter": chapter.stem}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_kernel = kernel_environment(folder, threads)
        # a kernel draws into the page; a script must not open windows
        env = in_kernel | {"MPLBACKEND": "Agg"}
        kernel, _ = _in_kernel(chapter, [*sources[:2], "pass"], folder, in_kernel)
        record |= {"kernel": kernel, "script": _as_script(chapter, sources[:2], folder, env)}
        if chapter.stem[:2] in WHOLE:
            _, whole = _in_kernel(chapter, sources, folder, in_kernel)
            script = _as_script(chapter, sources, folder, env)
            record |= {"kernel_whole": whole, "script_whole": script}
    return record


def _in_kernel(
    chapter: Path, sources: list[str], folder: Path, env: dict[str, str]
) -> tuple[float, float]:
    """Seconds until the third of the cells starts, and until the worker has ended."""
    nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / chapter.name
    write_notebook(nb, path)
    command = [
        *(sys.executable, "-m", "utils.worker", str(path), str(folder / "executed.ipynb")),
        *("--parameters", '{"DEVICE": "cpu"}', "--cwd", str(chapter.parent)),
    ]
    began, ready, record = time.perf_counter(), None, {}
    # the worker ends itself when its standard input closes
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        cwd=repository_root(),
        text=True,
        encoding="utf-8",
    ) as process:
        for line in process.stdout:
            record = json.loads(line)
            # papermill has put a cell with the parameters below the first one
            if ready is None and record.get("cell") == 4:
                ready = time.perf_counter() - began
        process.wait()
        whole = time.perf_counter() - began
    if ready is None or record.get("cells_executed", 0) < len(sources):
        raise CourseError(f"{chapter.stem} does not start in a kernel: {record.get('error')}")
    return ready, whole


def _as_script(chapter: Path, sources: list[str], folder: Path, env: dict[str, str]) -> float:
    """Seconds of a Python process that runs the cells."""
    path = folder / "script.py"
    parameters, *rest = sources
    path.write_text("\n\n".join([parameters, 'DEVICE = "cpu"', *rest]) + "\n", encoding="utf-8")
    command = [sys.executable, str(path)]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=chapter.parent, env=env, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CourseError(f"{chapter.stem} does not run as a script: {last}")
    return seconds
