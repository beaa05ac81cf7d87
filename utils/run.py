"""Run the chapters headless: ``python -m utils.run`` (or ``make run``).

Each chapter is executed by papermill in a process of its own (:mod:`utils.worker`), two at a time. A
failing chapter does not stop the others. The executed chapters, ``results.json`` and ``report.html``
go to ``build/``. Exit status: 0 when every chapter passed, 1 when one failed or did not really run,
2 for a wrong order, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from utils.notebooks import find_chapters, repository_root
from utils.report import closing_table, report_page
from utils.runtime import DEVICES, CourseError, choose_device, write_atomically
from utils.worker import ChapterRun

PROFILES = ("quick", "full")
CELL_TIMEOUT = {"quick": 300, "full": 3600}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and return the exit status."""
    try:
        options = _parse(arguments)
        chapters = find_chapters([options.chapters], options.notebooks)
        with _stop_on_sigterm(), _own(options.build):
            results = run_chapters(chapters, options)
            print("\n" + closing_table(results))
            print(f"\n{results['seconds']:.0f} s in all; see {options.build / 'report.html'}")
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first chapter or after the last, or for a second time
        print("error: the run was interrupted; start it again.", file=sys.stderr)
        return 130
    if any(c["error"] == INTERRUPTED for c in results["chapters"]):
        return 130
    return 0 if all(c["status"] == "passed" for c in results["chapters"]) else 1


INTERRUPTED = "The run was interrupted."


def run_chapters(chapters: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Execute chapters side by side and write ``results.json`` and ``report.html``.

    Args:
        chapters: the notebooks.
        options: as parsed from the command line.

    Returns:
        What is written to ``results.json``.

    Raises:
        CourseError: the build folder cannot be written.
    """
    started = time.perf_counter()
    out = options.build / "notebooks"
    with _one_sentence_for_disk(options.build):
        for folder in (out, options.build / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        # results of an earlier run must not look like those of this run, even if this one is killed
        _remove(options.build, "results.json", "report.html")
        _remove(out, *(f"{c.stem}.*" for c in chapters))
    runs = {c.stem: ChapterRun(c.stem, seed=options.seed, error=INTERRUPTED) for c in chapters}
    display = Display(len(chapters))
    workers = _Workers(options, display)
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting: dict[Future[ChapterRun], str] = {}
        try:
            waiting.update({pool.submit(workers.run, c): c.stem for c in chapters})
            while waiting:
                # a time limit, because Windows does not let Ctrl-C through while it waits for ever
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    runs[waiting.pop(future)] = future.result()
        except KeyboardInterrupt:
            display.say("interrupted: stopping the kernels; what has run so far is kept")
            workers.stop()
            pool.shutdown(cancel_futures=True)
        finally:
            display.close()
    results = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": _git_revision(),
        "seconds": round(time.perf_counter() - started, 2),
        "parameters": {
            "device": options.device,
            "seed": options.seed,
            "profile": options.profile,
            "jobs": options.jobs,
        },
        "versions": _versions(),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": _cores(),
            "threads_per_kernel": options.threads,
        },
        "chapters": [asdict(runs[c.stem]) for c in chapters],
    }
    page = {**results, "chapters": [dict(c, page=_page(out, c)) for c in results["chapters"]]}
    with _one_sentence_for_disk(options.build):
        write_atomically(json.dumps(results, indent=2) + "\n", options.build / "results.json")
        write_atomically(report_page(page), options.build / "report.html")
    return results


def _remove(folder: Path, *patterns: str) -> None:
    """Remove files, and what a killed run was about to write under their names."""
    for pattern in patterns:
        for old in (*folder.glob(pattern), *folder.glob(f".{pattern}.*.tmp")):
            old.unlink(missing_ok=True)


def _page(out: Path, chapter: dict[str, Any]) -> str | None:
    page = out / f"{chapter['name']}.html"
    return f"notebooks/{page.name}" if page.exists() else None


class _Workers:
    """Starts a worker process for each chapter, listens to it, and can stop them all."""

    def __init__(self, options: argparse.Namespace, display: Display) -> None:
        self.options = options
        self.display = display
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def run(self, chapter: Path) -> ChapterRun:
        """Execute one chapter; called in a thread."""
        run = ChapterRun(chapter.stem, seed=self.options.seed, error=INTERRUPTED)
        self.display.starts(chapter.stem)
        try:
            with tempfile.TemporaryDirectory(
                prefix="course-", ignore_cleanup_errors=True
            ) as scratch:
                run = self._listen(chapter, Path(scratch), run)
        except OSError as error:
            run.status, run.error = "failed", f"The worker cannot start: {error.strerror}."
        self.display.ends(chapter.stem, run.status, run.seconds, run.error)
        return run

    def _listen(self, chapter: Path, scratch: Path, run: ChapterRun) -> ChapterRun:
        """Start the worker of a chapter and follow it to its end."""
        with self.lock:
            if self.stopped:
                return run
            process = self._start(chapter, scratch)
            self.running.add(process)
        started = time.perf_counter()
        for line in process.stdout or ():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # it was killed in the middle of a line
                break
            if "status" in event:
                run = ChapterRun(**event)
            else:
                self.display.cell(chapter.stem, event["cell"], event["of"], event["title"])
        process.wait()
        with self.lock:
            self.running.discard(process)
        if run.error == INTERRUPTED:
            end_kernels(scratch)
            run.seconds = round(time.perf_counter() - started, 2)
            if not self.stopped:
                run.status = "failed"
                run.error = f"The worker died; {self._log(chapter)} may say why."
        return run

    def _log(self, chapter: Path) -> Path:
        return self.options.build / "logs" / f"{chapter.stem}.log"

    def _start(self, chapter: Path, scratch: Path) -> subprocess.Popen[str]:
        options = self.options
        parameters = {"DEVICE": options.device, "SEED": options.seed, "PROFILE": options.profile}
        with self._log(chapter).open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "utils.worker", str(chapter)),
                    str((options.build / "notebooks" / chapter.name).resolve()),
                    *("--parameters", json.dumps(parameters), "--timeout", str(options.timeout)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                cwd=repository_root(),
                env=kernel_environment(scratch, options.threads),
                **_away_from_ctrl_c(),
            )

    def stop(self) -> None:
        """End all workers and their kernels."""
        with self.lock:
            self.stopped = True
            for process in self.running:
                if process.stdin:
                    process.stdin.close()  # the sign for the worker to end itself and its kernel
        deadline = time.monotonic() + 10
        while self.running and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in list(self.running):
            process.kill()


def _away_from_ctrl_c() -> dict[str, Any]:
    """Ctrl-C is for this process, which then stops the workers in good order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kernel_environment(scratch: Path, threads: int) -> dict[str, str]:
    """Environment of a worker: few threads, this environment's kernel, no user's start-up files.

    Args:
        scratch: a folder for what Jupyter and IPython want to write.
        threads: threads that torch and NumPy may use in the kernel.
    """
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "COURSE_HEADLESS": "1",
        "COURSE_PREFIX": sys.prefix,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(scratch / "jupyter"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONUTF8": "1",
    }


def end_kernels(scratch: Path) -> None:
    """End the kernels of a worker that was killed before it could end them.

    A kernel notices by itself that its parent is gone, but not while it is still starting.

    Args:
        scratch: what :func:`kernel_environment` was called with; it tells them from other kernels.
    """
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("JUPYTER_RUNTIME_DIR") == str(scratch / "jupyter"):
                process.kill()


class Display:
    """Live progress: a bar for each running chapter on a terminal, plain lines elsewhere."""

    EVERY = 10.0
    """Seconds between two plain lines about one chapter."""

    def __init__(self, chapters: int) -> None:
        self.live = sys.stdout.isatty()
        self.width = 0
        self.bars: dict[str, Any] = {}
        self.last_line: dict[str, float] = {}
        self.lock = threading.Lock()
        self.say(f"running {chapters} chapter{'s' if chapters != 1 else ''}")

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        if self.live:
            from tqdm import tqdm

            tqdm.write(text)
        else:
            print(text, flush=True)

    def starts(self, name: str) -> None:
        """A chapter starts."""
        with self.lock:
            self.last_line[name] = time.monotonic()
            if self.live:
                from tqdm import tqdm

                self.bars[name] = tqdm(
                    total=1,
                    unit="starting",
                    desc=f"{name:<24}",
                    leave=False,
                    file=sys.stdout,
                    bar_format="{desc} {n_fmt:>3}/{total_fmt:<3} |{bar:20}| {elapsed}  {unit}",
                )
            else:
                self.say(f"{name}: started")

    def cell(self, name: str, cell: int, of: int, title: str) -> None:
        """A cell of a chapter starts."""
        with self.lock:
            if self.live:
                bar = self.bars[name]
                bar.total, bar.n = of, cell
                bar.unit = title
                bar.refresh()
            elif time.monotonic() - self.last_line[name] > self.EVERY:
                self.last_line[name] = time.monotonic()
                self.say(f"{name}: cell {cell}/{of} · {title}")

    def ends(self, name: str, status: str, seconds: float, error: str | None) -> None:
        """A chapter ends."""
        with self.lock:
            if name in self.bars:
                self.bars.pop(name).close()
            self.say(f"{name}: {status} after {seconds:.1f} s" + (f" · {error}" if error else ""))

    def close(self) -> None:
        """Take the bars away."""
        for bar in self.bars.values():
            bar.close()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read and check the options; what is wrong with them ends in a CourseError."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.run", description="Run the chapters headless."
    )
    parser.add_argument("--chapters", default="", help='such as "01 12"; all when left out')
    parser.add_argument("--device", default="auto", help=", ".join(DEVICES))
    parser.add_argument("--seed", default="42", help="0 to 4294967295")
    parser.add_argument("--profile", default="quick", help=", ".join(PROFILES))
    parser.add_argument("--jobs", default="2", help="chapters at a time")
    parser.add_argument("--threads", default=None, help="threads of a kernel; cores / jobs")
    parser.add_argument("--timeout", default=None, help="seconds that one cell may take")
    parser.add_argument("--notebooks", type=Path, help="folder with the chapters (notebooks/)")
    parser.add_argument("--build", type=Path, default=None, help="folder for the results (build/)")
    options = parser.parse_args(arguments)
    options.seed = _integer("seed", options.seed, 0, 2**32 - 1)
    options.jobs = _integer("jobs", options.jobs, 1, 64)
    threads = options.threads or max(1, _cores() // options.jobs)
    options.threads = _integer("threads", threads, 1, 1024)
    if options.profile not in PROFILES:
        raise CourseError(f"Unknown profile {options.profile!r}: choose {' or '.join(PROFILES)}.")
    options.timeout = _integer(
        "timeout", options.timeout or CELL_TIMEOUT[options.profile], 1, 86400
    )
    if options.device not in ("auto", "cpu"):  # asking torch costs seconds: only where it matters
        choose_device(options.device)
    # the workers run in another folder, where a relative path would lead elsewhere
    options.notebooks = options.notebooks and options.notebooks.absolute()
    options.build = (options.build or repository_root() / "build").absolute()
    return options


def _integer(name: str, text: str | int, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise CourseError(f"{name} {text!r} will not do: give an integer from {low} to {high}.")
    return number


@contextlib.contextmanager
def _own(build: Path) -> Iterator[None]:
    """Keep a second run out of the build folder."""
    from filelock import FileLock, Timeout

    with _one_sentence_for_disk(build):
        build.mkdir(parents=True, exist_ok=True)
        lock = FileLock(build / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CourseError(
                f"Another run is using {build}: wait until it ends, or give --build another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _one_sentence_for_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into a sentence."""
    try:
        yield
    except OSError as error:
        raise CourseError(
            f"{folder} cannot be written ({error.strerror}): free some space or make it writable, "
            "or give --build another folder."
        ) from None


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Treat a polite end like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "papermill")
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}}


def _git_revision() -> str | None:
    """The revision of the checkout, with a mark when files differ from it; None without git."""
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=repository_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
