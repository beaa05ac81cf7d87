"""Execute chapters and store what comes out: ``python -m utils.refresh [--chapters "01 12"]``.

So the pages show what the code does. The README's table of chapters is renewed as well. A chapter that
fails stays as it was. Exit status: 0 when all is well, 1 when a chapter failed, 2 for a wrong order.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.notebooks import (
    code_cells,
    find_chapters,
    normalise,
    read_notebook,
    results_of,
    write_notebook,
)
from utils.report import renew_readme
from utils.runtime import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

CELL_TIMEOUT = 300
KERNEL_STARTS = 3
"""How often to start a kernel that dies at once: its ports are chosen before it opens them, and now and
then another program, or another kernel, has taken one in between."""


class ChapterFailed(CourseError):
    """A chapter could not be executed to its end."""

    def __init__(self, sentence: str, cell: int, details: str = "") -> None:
        super().__init__(sentence)
        self.cell = cell
        self.details = details


def execute(nb: NotebookNode, folder: Path, timeout: int = CELL_TIMEOUT) -> dict[int, float]:
    """Execute a notebook in place, in a fresh kernel of this very environment.

    Args:
        nb: the notebook; its old outputs are dropped.
        folder: working folder of the kernel.
        timeout: seconds that one cell may take.

    Returns:
        The seconds of each code cell by its number, from 1.

    Raises:
        ChapterFailed: a cell raises, takes too long, or the kernel dies or does not start.
    """
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}
    starts_left = KERNEL_STARTS

    def starts(cell: NotebookNode, cell_index: int, **_: Any) -> None:
        started[cell_index + 1] = time.perf_counter()

    def ends(cell: NotebookNode, cell_index: int, **_: Any) -> None:
        seconds[cell_index + 1] = time.perf_counter() - started[cell_index + 1]

    for _, cell in code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    while True:
        client = kernel_client(nb, folder, timeout, on_cell_start=starts, on_cell_executed=ends)
        try:
            # what the kernel's own machinery prints when it is ended is of no use to anybody
            client.execute(env=kernel_environment(), stderr=subprocess.DEVNULL)
            return seconds
        except Exception as error:
            atexit.unregister(client._cleanup_kernel)  # it is done; nbclient forgets to say so
            # set when a signal ended the kernel
            if hasattr(client, "_async_cleanup_kernel_future"):
                raise KeyboardInterrupt from None
            starts_left -= 1
            if started or not starts_left or "Kernel died" not in str(error):
                raise _failure(error, max(started, default=0), timeout) from None


def _failure(error: Exception, number: int, timeout: int) -> Exception:
    """Say in one sentence why the execution ended in a cell (0: before the first)."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    if isinstance(error, CellExecutionError):
        line = (str(error.evalue).strip().splitlines() or [""])[0]
        return ChapterFailed(f"Cell {number} raises {error.ename}: {line}", number, error.traceback)
    if isinstance(error, CellTimeoutError):
        return ChapterFailed(f"Cell {number} ran longer than {timeout} s.", number)
    if isinstance(error, DeadKernelError) and number:
        sentence = f"The kernel died in cell {number}; most often the memory was too small."
        return ChapterFailed(sentence, number)
    if isinstance(error, RuntimeError) and not number:
        return ChapterFailed(f"The kernel did not start: {str(error).splitlines()[0]}", 0)
    return error


def require_python(nb: NotebookNode, path: Path) -> None:
    """Refuse a notebook that says it is written in another language than Python.

    Raises:
        CourseError: it does.
    """
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        language = nb.metadata.get(key, {}).get(name, "python")
        if language != "python":
            raise CourseError(
                f"{path.name} says that it is written in {language!r}: choose the kernel "
                "'Python 3 (ipykernel)' for it in JupyterLab."
            )


def kernel_client(nb: NotebookNode, folder: Path, timeout: int, **hooks: Any) -> Any:
    """A client whose kernel is this environment's, whatever kernels are installed elsewhere."""
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    client = NotebookClient(
        nb,
        kernel_name="python3",
        timeout=timeout,
        startup_timeout=120,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        **hooks,
    )
    manager = client.create_kernel_manager()
    # without folders to look in, the manager makes the kernel of sys.executable
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    return client


def kernel_environment() -> dict[str, str]:
    """Nobody watches, the scoreboard can tell a foreign kernel, and one thread counts alike."""
    return {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "COURSE_HEADLESS": "1",
        "COURSE_PREFIX": sys.prefix,
    }


def refresh(
    paths: Sequence[Path], timeout: int = CELL_TIMEOUT, say: Callable[[str], object] = print
) -> list[str]:
    """Execute chapters and store what comes out; a chapter that fails stays as it is.

    Args:
        paths: the notebooks.
        timeout: seconds that one cell may take.
        say: called with a line for each refreshed chapter: its seconds and its changed metrics.

    Returns:
        What went wrong, one sentence a chapter.
    """
    failures = []
    for path in paths:
        started = time.perf_counter()
        try:
            old = read_notebook(path)
            require_python(old, path)
            new = copy.deepcopy(old)
            execute(new, path.resolve().parent, timeout)
            write_notebook(normalise(new), path)
        except UnicodeEncodeError:  # half of a pair of surrogates is no character
            failures.append(f"{path.stem} is left as it was: it shows text that is not Unicode.")
        except (CourseError, OSError) as error:
            text = (
                f"it cannot be written: {error.strerror}" if isinstance(error, OSError) else error
            )
            failures.append(f"{path.stem} is left as it was: {text}")
        else:
            say(f"{path.stem}: {time.perf_counter() - started:.0f} s; {_changes(old, new)}")
    return failures


def _changes(old: NotebookNode, new: NotebookNode) -> str:
    """The metrics that changed visibly."""
    before, after = [(results_of(nb) or {}).get("metrics", {}) for nb in (old, new)]
    texts = [
        f"{name} {_four_digits(before.get(name))} → {_four_digits(after.get(name))}"
        for name in {**before, **after}
        if _four_digits(before.get(name)) != _four_digits(after.get(name))
    ]
    return ", ".join(texts) or "results as before"


def _four_digits(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh the chapters that the command line names and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.refresh", description="Execute chapters and store their outputs."
    )
    parser.add_argument(
        "--chapters", nargs="+", help='numbers or names, such as "01 12"; default: all'
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=CELL_TIMEOUT, help="seconds that a cell may take"
    )
    options = parser.parse_args(arguments)
    try:
        chapters = find_chapters(options.chapters)
        failures = refresh(chapters, options.timeout, say=lambda line: print(line, flush=True))
        if not failures:
            renew_readme()
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: README.md cannot be renewed: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; no notebook is half written.", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
