"""The headless runner on small chapters: what it records, what it refuses, what it survives."""

import contextlib
import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import nbval.kernel
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from utils import refresh, run, worker
from utils.runtime import CourseError

SETUP = """
import time
from utils.scoreboard import Scoreboard
board = Scoreboard({name!r}, device="cpu", seed=SEED)
"""
FINISH = """
board.record("answer", 42.0, label="the answer", bar=("<=", 50), baseline=60,
             baseline_name="a guess", headline=True)
board.finish()
"""


def write_chapter(folder: Path, name: str, *cells: str, finish: str = FINISH) -> Path:
    """A small chapter with the given code cells between its set-up and its results."""
    parameters = new_code_cell('DEVICE = "auto"\nSEED = 42', metadata={"tags": ["parameters"]})
    code = [SETUP.format(name=name), *cells, finish]
    notebook = new_notebook(
        cells=[new_markdown_cell(f"# {name}"), parameters]
        + [new_markdown_cell("## A section")]
        + [new_code_cell(source.strip()) for source in code],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "chapters").mkdir()
    return tmp_path / "chapters"


def command(folder: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "utils.run", "--notebooks", str(folder)),
        *("--build", str(folder.parent / "build"), *options),
    ]


def execute(folder: Path, *options: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options),
        capture_output=True,
        text=True,
        cwd=folder.parent,  # never the repository: the runner works from anywhere
        timeout=timeout,
        check=False,
    )


def results(folder: Path) -> dict:
    return json.loads((folder.parent / "build" / "results.json").read_text())


def wait_for(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def kernels_under(path: Path) -> list[int]:
    """Kernels and workers whose environment or command names the test's own folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(path) in line or str(process.info["cwd"] or "").startswith(str(path)):
            found.append(process.pid)
    return found


def test_a_good_run(folder):
    write_chapter(folder, "01_one", "x = 1", "print(SEED)")
    write_chapter(folder, "02_two", "x = 1")
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    done = execute(folder, "--seed", "7", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the answer: 42 (bar <= 50; a guess 60)" in done.stdout
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()} == before

    record = results(folder)
    assert {"date", "git", "versions", "machine", "parameters", "seconds"} <= record.keys()
    first = record["chapters"][0]
    assert (first["name"], first["status"]) == ("01_one", "passed")
    assert first["cells_executed"] == 6  # with papermill's injected parameters
    assert (first["device"], first["seed"], first["error"]) == ("cpu", 7, None)
    assert first["metrics"] == {"answer": 42.0, "answer_baseline": 60.0}
    assert first["bars"] == [
        {"metric": "answer", "op": "<=", "bound": 50.0, "value": 42.0, "passed": True}
    ]
    assert 0 < first["startup_seconds"] < first["seconds"]

    build = folder.parent / "build"
    executed = nbformat.read(build / "notebooks" / "01_one.ipynb", as_version=4)
    printed = [o.text for c in executed.cells for o in c.get("outputs", []) if "text" in o]
    assert printed == ["7\n"]
    page = (build / "report.html").read_text()
    assert 'href="notebooks/01_one.html"' in page
    assert "the answer: 42" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page), "the report fetches something"
    assert (build / "notebooks" / "01_one.html").stat().st_size > 10_000


def test_the_run_goes_on_past_a_failing_chapter(folder):
    write_chapter(folder, "01_one", "1 / 0", "print('never')")
    write_chapter(folder, "02_two", "x = 1")
    done = execute(folder)
    assert done.returncode == 1
    first, second = results(folder)["chapters"]
    assert (first["status"], second["status"]) == ("failed", "passed")
    assert "ZeroDivisionError: division by zero" in first["error"]
    assert "A section" in first["error"]
    assert first["error"] in done.stdout
    kept = nbformat.read(folder.parent / "build" / "notebooks" / "01_one.ipynb", as_version=4)
    assert "never" not in str([c.get("outputs") for c in kept.cells])


def test_a_missed_bar_fails_and_is_still_recorded(folder):
    write_chapter(folder, "01_one", finish=FINISH.replace("50)", "40)"))
    assert execute(folder).returncode == 1
    (only,) = results(folder)["chapters"]
    assert "answer = 42, bar <= 40" in only["error"]
    assert only["bars"][0]["passed"] is False


@pytest.mark.parametrize(
    "finish, message",
    [
        ("pass", "no results were recorded"),
        (FINISH.replace("board.finish()", ""), "no results were recorded"),
        ("board.chapter = '09_cnn'" + FINISH, "results are those of another chapter: 09_cnn"),
        ("board.seed = 43" + FINISH, "ran with seed 43 instead of 42"),
    ],
)
def test_a_chapter_that_did_not_really_run_has_failed(folder, finish, message):
    write_chapter(folder, "01_one", finish=finish)
    assert execute(folder).returncode == 1
    assert message in results(folder)["chapters"][0]["error"]


def test_cells_that_were_not_executed_are_noticed(tmp_path):
    notebook = new_notebook(cells=[new_code_cell("x = 1"), new_code_cell("y = 2")])
    notebook.cells[0].execution_count = 1
    record = worker.ChapterRun("01_one")
    worker._judge(record, notebook, 42)
    assert "1 of 2 code cells were executed" in record.error


def test_what_is_not_a_notebook_fails_alone(folder):
    (folder / "01_one.ipynb").write_text('{"cells": [')
    write_chapter(folder, "02_two")
    done = execute(folder)
    assert done.returncode == 1
    first, second = results(folder)["chapters"]
    assert "01_one.ipynb" in first["error"]
    assert (first["status"], second["status"]) == ("failed", "passed")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_dead_kernel_is_noticed_at_once(folder):
    write_chapter(folder, "01_one", "import os\nos._exit(9)")
    started = time.monotonic()
    assert execute(folder).returncode == 1
    assert time.monotonic() - started < 60
    assert "The kernel died in cell 6 (A section)" in results(folder)["chapters"][0]["error"]


FIRST_KERNELS_DIE = """
import os, pathlib, sys
if any("ipykernel_launcher" in word for word in sys.orig_argv):
    left = pathlib.Path(os.environ["KERNELS_TO_DIE"])
    if number := int(left.read_text()):
        left.write_text(str(number - 1))
        os._exit(1)
"""


@pytest.fixture
def dying_kernels(tmp_path, monkeypatch):
    """A file with the number of kernels that die while they start, as when a port has been taken."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FIRST_KERNELS_DIE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("KERNELS_TO_DIE", str(tmp_path / "number"))
    return tmp_path / "number"


@pytest.mark.parametrize("dying", [2, 3])
def test_a_kernel_that_dies_while_it_starts_gets_a_successor(folder, dying_kernels, dying):
    write_chapter(folder, "01_one")
    dying_kernels.write_text(str(dying))
    assert execute(folder).returncode == (dying == 3)
    assert dying_kernels.read_text() == "0"
    error = results(folder)["chapters"][0]["error"]
    assert error is None if dying < 3 else "died before the first cell" in error


@pytest.mark.parametrize("dying", [2, 3])
def test_so_it_does_in_a_refresh(folder, dying_kernels, dying):
    path = write_chapter(folder, "01_one")
    dying_kernels.write_text(str(dying))
    failures = refresh.refresh([path], 60)
    assert dying_kernels.read_text() == "0"
    assert [("did not start: Kernel died" in failure) for failure in failures] == [True] * (
        dying == 3
    )


@pytest.mark.parametrize("dying", [2, 3])
def test_so_it_does_under_nbval(dying_kernels, dying):
    dying_kernels.write_text(str(dying))
    with pytest.raises(RuntimeError) if dying == 3 else contextlib.nullcontext():
        manager, client = nbval.kernel.start_new_kernel(
            kernel_name=nbval.kernel.CURRENT_ENV_KERNEL_NAME
        )
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert dying_kernels.read_text() == "0"


def test_a_cell_that_hangs_is_stopped(folder):
    write_chapter(folder, "01_one", "time.sleep(600)")
    started = time.monotonic()
    assert execute(folder, "--timeout", "3").returncode == 1
    assert time.monotonic() - started < 60
    assert "ran longer than 3 s" in results(folder)["chapters"][0]["error"]
    assert not kernels_under(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_kernel(folder, how):
    marker = folder.parent / "reached"
    write_chapter(
        folder, "01_one", "print('kept')", f"open({str(marker)!r}, 'w').close()\ntime.sleep(600)"
    )
    write_chapter(folder, "02_two")
    with subprocess.Popen(
        command(folder, "--jobs", "1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        wait_for(marker.exists)
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    first, second = results(folder)["chapters"]
    assert {first["status"], second["status"]} == {"skipped"}
    assert first["error"] == second["error"] == run.INTERRUPTED
    kept = nbformat.read(folder.parent / "build" / "notebooks" / "01_one.ipynb", as_version=4)
    assert "kept" in str([c.get("outputs") for c in kept.cells])
    wait_for(lambda: not kernels_under(folder), 15)


def test_no_kernel_outlives_a_killed_run(folder):
    marker = folder.parent / "reached"
    write_chapter(folder, "01_one", f"open({str(marker)!r}, 'w').close()\ntime.sleep(600)")
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL) as process:
        wait_for(marker.exists)
        assert kernels_under(folder)
        process.kill()
    wait_for(lambda: not kernels_under(folder), 15)
    nbformat.read(folder.parent / "build" / "notebooks" / "01_one.ipynb", as_version=4)
    leftovers = [p.name for p in (folder.parent / "build" / "notebooks").iterdir()]
    assert leftovers == ["01_one.ipynb"]


def test_a_second_run_in_the_same_folder_is_refused(folder):
    marker = folder.parent / "reached"
    write_chapter(folder, "01_one", f"open({str(marker)!r}, 'w').close()\ntime.sleep(8)")
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL) as first:
        wait_for(marker.exists)
        second = execute(folder)
        assert second.returncode == 2
        assert "Another run is using" in second.stderr
        assert first.wait(60) == 0
    assert results(folder)["chapters"][0]["status"] == "passed"


@pytest.mark.parametrize(
    "options, message",
    [
        (("--chapters", "99"), "99"),
        (("--chapters", "nonsense"), "nonsense"),
        (("--device", "gpu"), "Unknown device 'gpu'"),
        (("--seed", "-1"), "seed '-1'"),
        (("--seed", "many"), "seed 'many'"),
        (("--seed", "4294967296"), "0 to 4294967295"),
        (("--profile", "fast"), "Unknown profile 'fast'"),
        (("--jobs", "0"), "jobs '0'"),
        (("--jobs", "two"), "jobs 'two'"),
        (("--threads", "0"), "threads '0'"),
        (("--threads", "few"), "threads 'few'"),
        (("--threads", "1025"), "1 to 1024"),
        (("--timeout", "0"), "timeout '0'"),
        (("--nonsense",), "unrecognized arguments"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_is_written(folder, options, message, capsys):
    write_chapter(folder, "01_one")
    arguments = command(folder, *options)[3:]
    try:
        status = run.main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (folder.parent / "build").exists()


def test_cuda_without_a_gpu_is_refused(folder, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_chapter(folder, "01_one")
    assert run.main(command(folder, "--device", "cuda")[3:]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (folder.parent / "build").exists()


def test_a_build_folder_that_cannot_be_written_is_one_sentence(folder):
    write_chapter(folder, "01_one")
    (folder.parent / "file").write_text("in the way")
    done = execute(folder, "--build", str(folder.parent / "file" / "build"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="ulimit is a shell's")
def test_a_full_disk_fails_the_chapter_and_leaves_no_half_file(folder):
    # a file size limit makes writing fail half-way, as a full disk does
    write_chapter(folder, "01_one", "print('x' * 300_000)")
    limited = ["sh", "-c", 'ulimit -f 128; exec "$@"', "sh", *command(folder)]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "cannot be written" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    kept = folder.parent / "build" / "notebooks"
    nbformat.read(kept / "01_one.ipynb", as_version=4)
    assert not [p for p in kept.iterdir() if p.suffix == ".tmp"]


def test_the_kernel_is_this_environments_with_few_threads(folder, tmp_path):
    # a user's own kernel of the same name, which points to another Python
    foreign = tmp_path / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        json.dumps({"argv": ["/no/such/python", "{connection_file}"], "display_name": "foreign"})
    )
    write_chapter(
        folder,
        "01_one",
        "import os, sys\nprint('PREFIX', sys.prefix, 'THREADS', os.environ['OMP_NUM_THREADS'])",
    )
    done = subprocess.run(
        command(folder, "--jobs", "64"),
        env={**os.environ, "HOME": str(tmp_path / "home"), "XDG_DATA_HOME": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    text = (folder.parent / "build" / "notebooks" / "01_one.ipynb").read_text()
    assert f"PREFIX {sys.prefix} THREADS 1" in text


@pytest.mark.parametrize(
    "options, threads",
    [
        ((), 4),
        (("--jobs", "1"), 8),
        (("--jobs", "3"), 2),
        (("--jobs", "64"), 1),
        (("--threads", "3"), 3),
        (("--threads", "12", "--jobs", "4"), 12),
    ],
)
def test_threads_are_the_cores_shared_out_or_what_is_asked_for(
    options, threads, monkeypatch, tmp_path
):
    monkeypatch.setattr(run, "_cores", lambda: 8)
    parsed = run._parse(options)
    assert parsed.threads == threads
    environment = run.kernel_environment(tmp_path, parsed.threads)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == str(threads)


def test_folders_may_be_named_from_where_one_is(folder, monkeypatch):
    """The workers run elsewhere: both folders become absolute before they start."""
    write_chapter(folder, "01_one")
    monkeypatch.chdir(folder.parent)
    parsed = run._parse(["--notebooks", "chapters", "--build", "build"])
    assert parsed.notebooks == folder
    assert parsed.build == folder.parent / "build"
    assert run._parse([]).notebooks is None


class FakeWorker:
    """Starts this program instead of a worker, and nothing more."""

    def __init__(self, monkeypatch, program: str) -> None:
        self.started = 0

        def start(workers, chapter, scratch):
            self.started += 1
            return subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=run.kernel_environment(scratch, 1),
            )

        monkeypatch.setattr(run._Workers, "_start", start)


HALF_A_LINE = """
import os, sys
os.write(1, b'{"cell": 1, "of": 2, "title": "A"}\\n{"name": "01_one", "status": "pas')
os.kill(os.getpid(), 9)
"""
ORPHAN = """
import subprocess, sys
sleeping = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, start_new_session=True)
print(sleeping.pid, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills itself by a signal")
def test_a_worker_killed_in_the_middle_of_a_line_fails_its_chapter_alone(folder, monkeypatch):
    write_chapter(folder, "01_one")
    write_chapter(folder, "02_two")
    fake = FakeWorker(monkeypatch, HALF_A_LINE)
    assert run.main(command(folder)[3:]) == 1
    assert fake.started == 2
    for chapter in results(folder)["chapters"]:
        assert chapter["status"] == "failed"
        assert "The worker died" in chapter["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="sleep is a command of Unix")
def test_what_a_killed_worker_leaves_running_is_ended(folder, monkeypatch, capfd):
    """A kernel that is still starting does not notice that its parent is gone."""
    write_chapter(folder, "01_one")
    FakeWorker(monkeypatch, ORPHAN)
    assert run.main(command(folder)[3:]) == 1
    orphan = int(capfd.readouterr().err)
    wait_for(lambda: not is_running(orphan), 10)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_no_room_for_temporary_files_is_one_sentence(folder, monkeypatch, capsys):
    write_chapter(folder, "01_one")

    def no_room(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(run.tempfile, "TemporaryDirectory", no_room)
    assert run.main(command(folder)[3:]) == 1
    (chapter,) = results(folder)["chapters"]
    assert chapter["error"] == "The worker cannot start: No usable temporary directory found."
    assert chapter["error"] in capsys.readouterr().out


def test_results_of_an_earlier_run_are_gone_before_the_first_chapter_starts(folder, monkeypatch):
    """Whoever kills this run must not find those of another."""
    write_chapter(folder, "01_one")
    build = folder.parent / "build"
    (build / "notebooks").mkdir(parents=True)
    old = ["results.json", "report.html", ".results.json.17.tmp", "notebooks/01_one.html"]
    old += ["notebooks/01_one.ipynb", "notebooks/.01_one.ipynb.17.tmp"]
    kept = ["notebooks/02_two.ipynb", "notes.txt"]
    for name in (*old, *kept):
        (build / name).write_text("old")
    seen = []

    def start(workers, chapter):
        seen.extend(name for name in (*old, *kept) if (build / name).exists())
        return worker.ChapterRun(chapter.stem, status="failed", error="Not this time.")

    monkeypatch.setattr(run._Workers, "run", start)
    assert run.main(command(folder)[3:]) == 1
    assert seen == kept


@pytest.mark.parametrize("place", ["_git_revision", "find_chapters", "closing_table"])
def test_an_interrupt_at_an_odd_moment_is_one_sentence(place, folder, monkeypatch, capsys):
    write_chapter(folder, "01_one")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        run._Workers, "run", lambda workers, chapter: worker.ChapterRun(chapter.stem)
    )
    monkeypatch.setattr(run, place, interrupt)
    assert run.main(command(folder)[3:]) == 130
    assert capsys.readouterr().err == "error: the run was interrupted; start it again.\n"
    build = folder.parent / "build"
    assert (build / "results.json").exists() == (place == "closing_table")
    if build.exists():  # the lock is free again
        with run._own(build):
            pass


def test_a_chapter_in_another_language_is_refused(folder):
    path = write_chapter(folder, "01_one")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec = {"name": "ir", "display_name": "R", "language": "R"}
    nbformat.write(notebook, path)
    with pytest.raises(CourseError, match="01_one.ipynb says that it is written in 'R'"):
        worker.run_chapter(path, folder.parent / "out.ipynb", {}, timeout=5)
    assert not (folder.parent / "out.ipynb").exists()


def test_old_results_do_not_pass_for_new_ones(folder):
    write_chapter(folder, "01_one")
    assert execute(folder).returncode == 0
    write_chapter(folder, "01_one", "import os\nos._exit(9)")
    assert execute(folder).returncode == 1
    assert results(folder)["chapters"][0]["metrics"] == {}


def test_missing_chapters_are_named(folder):
    with pytest.raises(CourseError, match="01_one"):
        write_chapter(folder, "01_one")
        run.find_chapters(["7"], folder)
