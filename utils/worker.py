"""Execute one chapter with papermill in a process of its own and say, line by line, how it goes.

:mod:`utils.run` starts one worker a chapter. The worker writes one JSON object a line to standard
output: ``{"cell": i, "of": n, "title": …}`` when a cell starts, and last the chapter's record (see
:class:`ChapterRun`). It ends itself, and its kernel, when the standard input closes, so that no
kernel outlives a run that was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from utils.notebooks import parameters_of, read_notebook, results_of
from utils.refresh import KERNEL_STARTS, require_python
from utils.runtime import CourseError, write_atomically

ATOMIC = "atomic://"
ENGINE = "course"


@dataclass
class ChapterRun:
    """What became of one chapter; the rows of ``build/results.json``."""

    name: str
    status: str = "skipped"
    """``passed``, ``failed``, or ``skipped`` when the run ended before the chapter did."""
    seconds: float = 0.0
    startup_seconds: float = 0.0
    """From the start of the worker to the end of the set-up cell: kernel start and imports."""
    cells_executed: int = 0
    device: str | None = None
    seed: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    bars: list[dict[str, Any]] = field(default_factory=list)
    headline: dict[str, Any] | None = None
    slowest_cells: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def run_chapter(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    *,
    timeout: int,
    cwd: Path | None = None,
    events: TextIO | None = None,
) -> ChapterRun:
    """Execute a chapter and judge whether it passed.

    Args:
        notebook: the chapter; it is only read.
        output: where the executed notebook goes, saved whole after every cell. The page for the
            browser goes beside it, with the suffix ``.html``.
        parameters: values for the parameters cell; names that the chapter does not declare are
            left out.
        timeout: seconds that one cell may take.
        cwd: working folder of the kernel; the notebook's own folder when left out.
        events: where to write the progress lines.

    Returns:
        The record. Whatever goes wrong inside the chapter ends in its ``error``, in one sentence.

    Raises:
        CourseError: the notebook cannot be read, or is not written in Python.
    """
    started = time.perf_counter()
    run = ChapterRun(notebook.stem, status="failed")
    nb = read_notebook(notebook)
    require_python(nb, notebook)
    declared = parameters_of(nb)
    parameters = {name: value for name, value in parameters.items() if name in declared}
    progress = _Progress(events, started)
    try:
        run.error = _execute(
            notebook, output, parameters, timeout, cwd or notebook.parent, progress
        )
    except OSError as error:
        run.error = f"{output.parent} cannot be written: {error.strerror}."
    run.startup_seconds = round(progress.startup_seconds, 2)
    if output.exists():
        _judge(run, read_notebook(output), parameters.get("SEED", declared.get("SEED")))
        try:
            _export_html(output)
        except OSError as error:
            run.error = run.error or f"{output.parent} cannot be written: {error.strerror}."
    run.status = "failed" if run.error else "passed"
    run.seconds = round(time.perf_counter() - started, 2)
    return run


class _Progress:
    """Knows which cell runs, tells it to whoever listens, and measures the start-up."""

    def __init__(self, events: TextIO | None, started: float) -> None:
        self.events = events
        self.started = started
        self.startup_seconds = 0.0
        self.cell = 0
        self.title = ""

    def cell_starts(self, nb: Any, index: int) -> None:
        code_before = sum(c.cell_type == "code" for c in nb.cells[:index])
        if code_before == 3 and not self.startup_seconds:  # two parameter cells and the set-up cell
            self.startup_seconds = time.perf_counter() - self.started
        self.cell = index + 1
        headings = [
            line.lstrip("# ")
            for cell in nb.cells[: index + 1]
            if cell.cell_type == "markdown"
            for line in cell.source.splitlines()
            if line.startswith("#")
        ]
        self.title = headings[-1] if headings else ""
        self.tell({"cell": self.cell, "of": len(nb.cells), "title": self.title})

    def where(self) -> str:
        return f"cell {self.cell} ({self.title})" if self.title else f"cell {self.cell}"

    def tell(self, event: dict[str, Any]) -> None:
        if self.events is not None:
            self.events.write(json.dumps(event) + "\n")
            self.events.flush()


def _execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    timeout: int,
    cwd: Path,
    progress: _Progress,
) -> str | None:
    """Run papermill; return what went wrong in one sentence, or None."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _register_with_papermill(progress)
    for start in range(1, KERNEL_STARTS + 1):
        try:
            papermill.execute_notebook(
                str(notebook),
                f"{ATOMIC}{output}",
                parameters,
                engine_name=ENGINE,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                log_output=False,
                start_timeout=120,
                execution_timeout=timeout,
                cwd=str(cwd),
            )
            return None
        except PapermillExecutionError as error:
            first_line = str(error.evalue).strip().splitlines() or [""]
            return f"{progress.where()}: {error.ename}: {first_line[0]}"
        except CellTimeoutError:
            return (
                f"{progress.where()} ran longer than {timeout} s and was stopped (see --timeout)."
            )
        except (DeadKernelError, RuntimeError) as error:
            if not isinstance(error, DeadKernelError) and "Kernel" not in str(error):
                raise
            if progress.cell or start == KERNEL_STARTS or "died" not in str(error):
                break
    where = f"in {progress.where()}" if progress.cell else "before the first cell"
    return f"The kernel died {where}; most often the memory was too small."


def _register_with_papermill(progress: _Progress) -> None:
    """Teach papermill to save notebooks whole or not at all, and to tell when a cell starts."""
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.iorw import papermill_io

    class AtomicFiles:
        """Handler of ``atomic://…`` paths."""

        def write(self, text: str, path: str) -> None:
            write_atomically(text, Path(path.removeprefix(ATOMIC)))

        def pretty_path(self, path: str) -> str:
            return path.removeprefix(ATOMIC)

    class Engine(NBClientEngine):
        """Papermill's own engine, telling when a cell starts."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            plain = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                if cell_index is not None and cell.cell_type == "code":
                    progress.cell_starts(nb_man.nb, cell_index)
                plain(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_io.register(ATOMIC, AtomicFiles())
    papermill_engines.register(ENGINE, Engine)


def _judge(run: ChapterRun, nb: Any, seed: int | None) -> None:
    """Fill the record from the executed notebook; a chapter that did not really run has failed."""
    code = [c for c in nb.cells if c.cell_type == "code" and c.source.strip()]
    executed = [c for c in code if c.execution_count is not None]
    run.cells_executed = len(executed)
    run.slowest_cells = _slowest(nb)
    payload = results_of(nb)
    if payload is not None:
        run.device, run.seed, run.metrics = payload["device"], payload["seed"], payload["metrics"]
        run.bars = [
            {key: r[key] for key in _BAR_FIELDS} for r in payload["results"] if r["op"] is not None
        ]
        run.headline = next((r for r in payload["results"] if r["headline"]), None)
    if run.error:
        return
    if len(executed) < len(code):
        run.error = (
            f"It did not really run: {len(executed)} of {len(code)} code cells were executed."
        )
    elif payload is None or not run.metrics:
        run.error = "It did not really run: no results were recorded (board.finish() at the end)."
    elif payload["chapter"] != run.name:
        run.error = f"Its results are those of another chapter: {payload['chapter']}."
    elif run.seed != seed:
        run.error = f"It ran with seed {run.seed} instead of {seed}."
    elif missed := [b["metric"] for b in run.bars if not b["passed"]]:
        run.error = f"These bars are missed: {', '.join(missed)}."


_BAR_FIELDS = ("metric", "op", "bound", "value", "passed")


def _slowest(nb: Any, count: int = 5) -> list[dict[str, Any]]:
    """The cells that took longest, by papermill's own clock."""
    cells = [
        {
            "cell": i + 1,
            "seconds": round(duration, 2),
            "source": c.source.strip().splitlines()[0][:80],
        }
        for i, c in enumerate(nb.cells)
        if (duration := c.metadata.get("papermill", {}).get("duration")) and c.source.strip()
    ]
    return sorted(cells, key=lambda c: -c["seconds"])[:count]


def _export_html(notebook: Path) -> None:
    """Write the executed chapter as one page beside it."""
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="lab")
    page, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4))
    write_atomically(page, notebook.with_suffix(".html"))


def stop_children() -> None:
    """End all processes below this one, kernels first of all."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        child.terminate()
    _, alive = psutil.wait_procs(children, timeout=3)
    for child in alive:
        child.kill()


def _end_with_parent() -> None:
    """Wait until the standard input closes, which happens when the parent is gone or wants an end."""
    sys.stdin.read()
    stop_children()
    os._exit(1)


def main() -> None:
    """Read the order from the command line, execute it, print the record."""
    parser = argparse.ArgumentParser(description="Execute one chapter (called by utils.run).")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--parameters", type=json.loads, default={})
    parser.add_argument("--timeout", type=int, default=300)
    parser.add_argument("--cwd", type=Path)
    options = parser.parse_args()
    # a kernel that writes to the file descriptor must not get between the lines of the protocol
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run = run_chapter(
            options.notebook,
            options.output,
            options.parameters,
            timeout=options.timeout,
            cwd=options.cwd,
            events=events,
        )
    except CourseError as error:
        run = ChapterRun(options.notebook.stem, status="failed", error=str(error))
    finally:
        stop_children()
    events.write(json.dumps(asdict(run)) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
