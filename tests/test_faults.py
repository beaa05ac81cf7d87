"""What goes wrong in the world: kills, damaged files, bad servers, full disks, two at once, bad notebooks.

Whatever happens, nothing is lost, nothing is half written, no process stays behind, and who caused it
reads one sentence. The kinder faults are examined where the modules are: ``test_run.py``,
``test_datasets.py``, ``test_checker.py``.
"""

import ast
import contextlib
import gzip
import hashlib
import http.server
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pooch
import psutil
import pytest
from nbformat import v4
from nbformat.v4 import new_code_cell, new_markdown_cell
from test_datasets import LOADERS, assert_one_sentence, left_behind
from test_run import write_chapter

from utils import checker, datasets, exercises, grade, notebooks, progress, refresh
from utils.datasets import RemoteFile
from utils.notebooks import code_cells, read_notebook, results_of, write_notebook
from utils.runtime import CourseError

ROOT = notebooks.repository_root()
TOKEN = "COURSE_TEST_RUN"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and disks of Unix")


# --- no process stays behind ----------------------------------------------------------------------


def processes_of(token: str) -> list[psutil.Process]:
    """All living processes that were started, directly or not, with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_for(condition: Callable[[], object], seconds: float = 180) -> object:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def assert_all_gone(token: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of(token):
        assert time.monotonic() < deadline, [command_of(process) for process in left]
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def token(monkeypatch) -> Iterator[str]:
    """Mark whatever a test starts, and see that it is all gone when the test ends."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(TOKEN, mark)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert not processes_of(mark)
    yield mark
    assert_all_gone(mark)


def test_the_count_sees_grandchildren_in_sessions_of_their_own(token):
    """The other tests would be worth nothing if it did not."""
    program = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", program], check=True)
    (orphan,) = wait_for(lambda: processes_of(token))
    assert command_of(orphan) == "sleep 60"
    with pytest.raises(AssertionError, match="sleep 60"):
        assert_all_gone(token, 0.1)
    orphan.kill()


# --- a run is killed at random moments ------------------------------------------------------------

KILLS = {
    "run killed": ("utils.run", signal.SIGKILL),
    "worker killed": ("utils.worker", signal.SIGKILL),
    "kernel killed": ("ipykernel_launcher", signal.SIGKILL),
    "run terminated": ("utils.run", signal.SIGTERM),
    "run interrupted": ("utils.run", signal.SIGINT),
}
STRIKES = 20
LINGER = 100
"""Seconds; more than `assert_all_gone` waits."""


class Lane:
    """A folder in which one run after the other is struck down."""

    def __init__(self, folder: Path, token: str) -> None:
        self.token = token
        self.environment = {**os.environ, TOKEN: token}
        self.build = folder / "build"
        self.log = folder / "output.txt"
        chapters = folder / "chapters"
        chapters.mkdir(parents=True)
        rest = "import os\ntime.sleep(float(os.environ['LINGER']))"
        write_chapter(chapters, "01_one", "print('kept')", rest, "x = 'y' * 50_000\nprint(x)")
        self.command = [
            *(sys.executable, "-m", "utils.run", "--notebooks", str(chapters)),
            *("--build", str(self.build), "--device", "cpu"),
        ]
        self.seconds = 0.0

    def start(self, linger: float = 0) -> subprocess.Popen:
        environment = {**self.environment, "LINGER": str(linger)}
        with self.log.open("w") as log:
            return subprocess.Popen(
                self.command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def undisturbed(self) -> None:
        """A run that must pass, and tells how long one takes."""
        started = time.monotonic()
        assert self.start().wait(300) == 0, self.log.read_text()
        self.seconds = time.monotonic() - started
        self.examine()
        assert self.record()["chapters"][0]["status"] == "passed"
        assert not list(self.build.rglob(".*.tmp"))

    def hit(self, kind: str, moment: float, linger: float) -> None:
        """Strike one run after the other, earlier each time, until it was still running then.

        How long a run takes is known only roughly, the more so when the machine is busy with others.
        """
        too_late = 0
        while not self.strike(kind, moment * 0.7**too_late, linger):
            too_late += 1
            assert too_late < 12, f"{kind}: every strike came too late"

    def strike(self, kind: str, moment: float, linger: float) -> bool:
        """Start a run and strike; return whether it was still running then.

        Args:
            kind: a key of KILLS.
            moment: 0 to 1, from the start of the victim to the end of a usual run.
            linger: seconds that the chapter takes longer, so that what stays behind is seen.
        """
        victim, how = KILLS[kind]
        begun = time.monotonic()
        process = self.start(linger)

        def find() -> list[psutil.Process]:
            return [p for p in processes_of(self.token) if victim in command_of(p)]

        started = time.monotonic()
        wait_for(lambda: find() or process.poll() is not None)
        elapsed = time.monotonic() - started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment * max(0.0, self.seconds - elapsed))
            self.seconds = time.monotonic() - begun
        hit = process.poll() is None and bool(found := find())
        if hit:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[0].send_signal(how)
        status = process.wait(180)
        assert_all_gone(self.token)
        self.examine()
        self.judge(kind, status, hit)
        return hit

    def record(self) -> dict | None:
        path = self.build / "results.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def examine(self) -> None:
        """Every file that is there is whole, and a chapter that is said to have passed did."""
        for path in self.build.rglob("*.ipynb"):
            if not path.name.startswith("."):
                read_notebook(path)
        for chapter in (self.record() or {"chapters": []})["chapters"]:
            if chapter["status"] == "passed":
                nb = read_notebook(self.build / "notebooks" / f"{chapter['name']}.ipynb")
                assert all(cell.execution_count for _, cell in code_cells(nb))
                assert results_of(nb)["metrics"] == chapter["metrics"] != {}
                assert chapter["error"] is None

    def judge(self, kind: str, status: int, hit: bool) -> None:
        """The exit status and the words fit what happened."""
        output, record = self.log.read_text(), self.record()
        how = KILLS[kind][1]
        passed = bool(record) and all(c["status"] == "passed" for c in record["chapters"])
        if status == 0:
            assert passed, (kind, output)
        if not hit:
            assert status == 0, (kind, output)
        elif kind == "run killed":
            assert status in (-how, 0)  # 0: it had just ended by itself
        elif kind in ("run terminated", "run interrupted"):
            # without its own handlers, while Python starts and ends, the signal does it
            assert status in (130, -how, 0), (kind, status, output)
        else:
            assert status in (0, 1), (kind, output)
            if status == 1:
                (chapter,) = record["chapters"]
                assert chapter["status"] == "failed"
                assert re.search("died|did not start|did not really run", chapter["error"]), chapter
                assert chapter["error"] in output
        if "running 1 chapter" in output and " s in all" not in output:
            assert "Traceback" not in output, (kind, output)


def test_a_run_killed_at_twenty_random_moments(tmp_path):
    """Nothing half written, no false success, no stray process, and the next run passes."""
    generator = random.Random(20)
    plan = [
        # a kernel that is killed while it starts gets a successor, which would linger to the end
        (kind, generator.random(), LINGER * (number % 2) * (kind != "kernel killed"))
        for kind in KILLS
        for number in range(STRIKES // len(KILLS))
    ]
    generator.shuffle(plan)
    assert len(plan) == STRIKES

    def lane(number: int) -> int:
        there = Lane(tmp_path / f"lane{number}", uuid.uuid4().hex)
        there.undisturbed()
        for strike in plan[number::2]:
            there.hit(*strike)
        there.undisturbed()
        return len(plan[number::2])

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lane, range(2))) == STRIKES


# --- refresh and exercises are killed -------------------------------------------------------------


def course(folder: Path, *sources: str) -> tuple[Path, Path]:
    """A course of one chapter and one notebook of solutions with the same code."""
    chapter = folder / "notebooks" / "01_one.ipynb"
    solutions = folder / "notebooks" / "solutions" / "01_one.ipynb"
    solutions.parent.mkdir(parents=True)
    code = [new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    for path, title in ((chapter, "# 01 · One"), (solutions, "# 01 · One: solutions")):
        write_notebook(v4.new_notebook(cells=[new_markdown_cell(title, id="title"), *code]), path)
    return chapter, solutions


def in_course(folder: Path, module: str, *arguments: str) -> list[str]:
    """The command that runs a module's main in another course than this repository's."""
    program = f"""if True:
        import pathlib, signal, sys
        from utils import exercises, notebooks, {module}
        signal.signal(signal.SIGINT, signal.default_int_handler)
        root = pathlib.Path({str(folder)!r})
        notebooks.repository_root = exercises.repository_root = lambda: root
        sys.exit({module}.main({list(arguments)!r}))"""
    return [sys.executable, "-c", program]


@pytest.mark.parametrize(
    "module, options, how",
    [
        ("refresh", (), signal.SIGKILL),
        ("refresh", (), signal.SIGTERM),
        ("exercises", ("--execute",), signal.SIGKILL),
        ("exercises", ("--execute",), signal.SIGINT),
        ("exercises", ("--execute",), signal.SIGTERM),
    ],
)
def test_a_killed_author_command_leaves_the_notebooks(module, options, how, tmp_path, token):
    reached = tmp_path / "reached"
    paths = course(tmp_path, f"open({str(reached)!r}, 'w').close()\nimport time\ntime.sleep(60)")
    before = [path.read_bytes() for path in paths]
    process = subprocess.Popen(
        in_course(tmp_path, module, *options), stderr=subprocess.PIPE, text=True
    )
    wait_for(reached.exists)
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    if how == signal.SIGKILL:
        assert process.returncode == -how
    else:
        assert process.returncode == 130
        assert errors == "Interrupted; no notebook is half written.\n"
    assert_all_gone(token)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(p.name for p in (tmp_path / "notebooks").rglob("*.*")) == ["01_one.ipynb"] * 2


# --- bundled files are damaged --------------------------------------------------------------------


def flipped(position: float) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 4
        path.write_bytes(content)

    return harm


HARM: dict[str, Callable[[Path], object]] = {
    "first byte": flipped(0),
    "a byte": flipped(0.37),
    "last byte": flipped(1),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by one": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "empty": lambda path: path.write_bytes(b""),
    "another file": lambda path: path.write_bytes((datasets.DATA_DIR / "SHA256SUMS").read_bytes()),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"images": 1})),
    "gone": lambda path: path.unlink(),
}


@pytest.fixture
def linked_data(tmp_path, monkeypatch):
    """The data folder, to be damaged: a test unlinks what it changes."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("SHA256SUMS", *LOADERS):
        (folder / name).symlink_to(datasets.DATA_DIR / name)
    monkeypatch.setattr(datasets, "DATA_DIR", folder)
    datasets.forget_verified()
    yield folder
    datasets.forget_verified()


def own_copy(path: Path) -> Path:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("file", LOADERS)
def test_a_damaged_bundled_file_gives_a_sentence_and_no_data(linked_data, file, harm):
    HARM[harm](own_copy(linked_data / file))
    with pytest.raises(CourseError, match=f"data/{re.escape(file)} ") as caught:
        LOADERS[file]()
    assert f"`git checkout -- data/{file}`" in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("file", LOADERS)
def test_a_changed_checksum_is_not_believed(linked_data, file):
    """Who changes a file and its line in the list at once is beyond this; one of them is not."""
    sums = own_copy(linked_data / "SHA256SUMS")
    digest = hashlib.sha256((linked_data / file).read_bytes()).hexdigest()
    for other in (digest[:-1] + ("0" if digest[-1] != "0" else "1"), digest[:-1], ""):
        sums.write_text((ROOT / "data" / "SHA256SUMS").read_text().replace(digest, other))
        with pytest.raises(CourseError) as caught:
            LOADERS[file]()
        assert_one_sentence(str(caught.value))


# --- downloads from bad servers -------------------------------------------------------------------

CHUNK = 2**16
CONTENT = random.Random(7).randbytes(3 * CHUNK + 1000)
BOUNDARIES = range(len(CONTENT) // CHUNK + 1)
FILES = [(name, file) for name, files in datasets.OPTIONAL.items() for file in files]


@dataclass
class Habits:
    """What the server does with a request; a test changes it."""

    answer: Callable[[http.server.BaseHTTPRequestHandler], object]
    requests: int = 0
    url: str = ""


def send(content: bytes, announced: int | None = len(CONTENT), **headers: str):
    """An answer that announces a length and sends this content."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if announced is not None:
            handler.send_header("Content-Length", str(announced))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def habits() -> Iterator[Habits]:
    """A server on this machine that first does what it should."""
    state = Habits(send(CONTENT))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            with contextlib.suppress(OSError):  # the other side may hang up
                state.answer(self)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(habits, tmp_path, monkeypatch) -> Path:
    """An empty cache; all optional files are to be had from the server, with CONTENT in them."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    for name, files in datasets.OPTIONAL.items():
        remote = {file: RemoteFile(f"{habits.url}/{file}", digest) for file in files}
        monkeypatch.setitem(datasets.OPTIONAL, name, remote)
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


def assert_refused(name: str, file: str) -> str:
    with pytest.raises(CourseError) as caught:
        datasets._optional(name, file)
    assert_one_sentence(str(caught.value).removeprefix(file).lstrip().capitalize())
    assert str(caught.value).startswith(file)
    assert "make data-full" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name, file", FILES)
def test_a_download_cut_at_every_chunk(habits, cache, name, file):
    for chunks in BOUNDARIES:
        for announced in (len(CONTENT), chunks * CHUNK, None):
            habits.answer = send(CONTENT[: chunks * CHUNK], announced)
            assert_refused(name, file)
            assert left_behind(cache / name) == []
    assert habits.requests == 3 * len(BOUNDARIES)
    habits.answer = send(CONTENT)
    assert datasets._optional(name, file).read_bytes() == CONTENT
    assert left_behind(cache / name) == [file]


def redirect(target: str):
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def hang(first: bytes | None):
    """Send the head and some bytes, or not even that, and nothing more."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if first is not None:
            send(first)(handler)
        handler.wfile.flush()
        time.sleep(2)

    return answer


def status(number: int):
    return lambda handler: handler.send_error(number)


PORTAL = b"<html>Please accept our terms to use this network.</html>"
BAD = {
    "redirects for ever": redirect("/again"),
    "redirects to nowhere": redirect("http://["),
    "redirects to another protocol": redirect("file:///etc/passwd"),
    "hangs before the head": hang(None),
    "hangs after the head": hang(b""),
    "hangs in the middle": hang(CONTENT[:CHUNK]),
    "speaks another language": lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "hangs up": lambda handler: handler.connection.close(),
    "says 404": status(404),
    "says 500": status(500),
    "sends nothing": send(b"", 0),
    "sends a page": send(PORTAL, len(PORTAL)),
    "sends other content": send(CONTENT[::-1]),
    "sends too much": send(CONTENT + b"x", len(CONTENT) + 1),
    "says gzip and does not": send(CONTENT, Content_Encoding="gzip"),
}


@pytest.mark.parametrize("habit", BAD)
def test_a_server_with_bad_habits(habits, cache, habit, monkeypatch):
    downloader, limits = pooch.HTTPDownloader, []

    def impatient(**options: object) -> object:
        limits.append(options["timeout"])
        return downloader(**{**options, "timeout": (0.4, 0.4)})

    monkeypatch.setattr(pooch, "HTTPDownloader", impatient)
    habits.answer = BAD[habit]
    sentence = assert_refused("mnist", "t10k-labels-idx1-ubyte.gz")
    assert habits.requests >= 1, sentence
    assert left_behind(cache / "mnist") == []
    habits.answer = send(CONTENT)
    assert datasets._optional("mnist", "t10k-labels-idx1-ubyte.gz").read_bytes() == CONTENT
    assert all(0 < seconds <= 60 for limit in limits for seconds in limit), limits


def fetcher(habits: Habits) -> list[str]:
    """The command that fetches a set of one file from the server."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    program = (
        "from utils import datasets\n"
        f"file = datasets.RemoteFile({habits.url + '/x.bin'!r}, {digest!r})\n"
        "datasets.OPTIONAL['toy'] = {'x.bin': file}\n"
        "raise SystemExit(datasets.main(['fetch', 'toy']))\n"
    )
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("chunks", BOUNDARIES)
def test_a_download_killed_at_every_chunk(habits, cache, chunks):
    """Nobody finds the broken file, and who waited for it takes over."""
    sent, release = threading.Event(), threading.Event()

    def stall(handler: http.server.BaseHTTPRequestHandler) -> None:
        send(CONTENT[: chunks * CHUNK])(handler)
        handler.wfile.flush()
        sent.set()
        release.wait(120)

    habits.answer = stall
    first = subprocess.Popen(fetcher(habits))
    assert sent.wait(120)
    if chunks:
        wait_for(lambda: sum(p.stat().st_size for p in cache.rglob("tmp*") if p.is_file()) > 0)
    second = subprocess.Popen(fetcher(habits)) if chunks == 1 else None
    habits.answer = send(CONTENT)
    first.kill()
    first.wait()
    release.set()
    assert not (cache / "toy" / "x.bin").exists() or second
    second = second or subprocess.Popen(fetcher(habits))
    assert second.wait(180) == 0
    assert (cache / "toy" / "x.bin").read_bytes() == CONTENT
    assert left_behind(cache / "toy") == ["x.bin"]
    assert habits.requests == 2


# --- what is fetched is verified before it is opened ----------------------------------------------


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def harmful(tmp_path, monkeypatch) -> tuple[bytes, Path]:
    """A pickle that leaves a marker, and the marker; the loader's own unpickler would let it pass.

    So these tests see the checksum alone at work.
    """
    marker = tmp_path / "the pickle was opened"
    content = pickle.dumps(Harm(marker), protocol=2)
    pickle.loads(content)
    assert marker.exists(), "the pickle would do no harm: the tests would show nothing"
    marker.rmdir()
    strict = datasets._PlanetoidUnpickler

    class Careless(strict):
        def find_class(self, module: str, name: str) -> object:
            with contextlib.suppress(pickle.UnpicklingError):
                return super().find_class(module, name)
            return pickle.Unpickler.find_class(self, module, name)

    monkeypatch.setattr(datasets, "_PlanetoidUnpickler", Careless)
    return content, marker


@pytest.mark.parametrize("place", ["server", "cache", "mirror"])
def test_a_harmful_pickle_is_never_opened(place, harmful, habits, cache, tmp_path, monkeypatch):
    """Whichever of Cora's files it replaces, and wherever it lies."""
    content, marker = harmful
    mirror = tmp_path / "mirror" / "planetoid"
    if place == "mirror":
        monkeypatch.setenv("COURSE_DATA_MIRROR", str(mirror.parent))
    habits.answer = send(content, len(content))
    folder = {"server": None, "cache": cache / "cora", "mirror": mirror}[place]
    if folder:
        folder.mkdir(parents=True)
        for file in datasets.OPTIONAL["cora"]:
            (folder / file).write_bytes(content)
    with pytest.raises(CourseError, match=r"ind\.cora"):
        datasets.load_cora()
    for file in datasets.OPTIONAL["cora"]:
        with pytest.raises(CourseError, match=re.escape(file)):
            datasets._optional("cora", file)
    assert not marker.exists()
    assert bool(habits.requests) == (place != "mirror")


def test_one_harmful_file_among_good_ones(harmful, mirror, tmp_path, monkeypatch):
    """Not even when the others have been opened."""
    content, marker = harmful
    copy = tmp_path / "mirror" / "planetoid"
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(copy.parent))
    shutil.copytree(mirror / "planetoid", copy, copy_function=shutil.copyfile)
    for file in datasets.OPTIONAL["cora"]:
        good = (copy / file).read_bytes()
        (copy / file).write_bytes(content)
        if file == "ind.cora.x":  # allx holds the same and more: this one is fetched, never opened
            datasets.load_cora()
        else:
            with pytest.raises(CourseError, match=re.escape(file)):
                datasets.load_cora()
        assert not marker.exists()
        (copy / file).write_bytes(good)
    assert len(datasets.load_cora().labels) == 2708


def test_the_unpickler_refuses_it_as_well(harmful, monkeypatch, tmp_path):
    """The second wall: should a checksum ever be pinned for it."""
    content, marker = harmful
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(datasets, "_is_good", lambda path, remote: True)
    folder = tmp_path / "mirror" / "planetoid"
    folder.mkdir(parents=True)
    for file in datasets.OPTIONAL["cora"]:
        (folder / file).write_bytes(b"1\n2\n" if file.endswith("index") else content)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        datasets.load_cora()
    assert not marker.exists()


@pytest.mark.parametrize("place", ["server", "cache", "mirror"])
def test_pictures_are_verified_before_they_are_unpacked(
    place, habits, cache, tmp_path, monkeypatch
):
    """A few kilobytes of gzip can unpack to as many gigabytes."""
    content = gzip.compress(bytes(1000))
    opened = []
    monkeypatch.setattr(gzip, "decompress", opened.append)
    mirror = tmp_path / "mirror" / "fashion_mnist"
    if place == "mirror":
        monkeypatch.setenv("COURSE_DATA_MIRROR", str(mirror.parent))
    habits.answer = send(content, len(content))
    folder = {"server": None, "cache": cache / "fashion_mnist", "mirror": mirror}[place]
    if folder:
        folder.mkdir(parents=True)
        for file in datasets.OPTIONAL["fashion_mnist"]:
            (folder / file).write_bytes(content)
    with pytest.raises(CourseError, match="idx"):
        datasets.load_fashion_mnist(full=True)
    assert opened == []


# --- nothing opens what could run code ------------------------------------------------------------

CHECKED = {
    # behind a checksum, and a list of the names that may occur
    ("utils/datasets.py", "class _PlanetoidUnpickler(pickle.Unpickler)"),
    ("data/prepare.py", "class FrameUnpickler(pickle.Unpickler)"),
    # the chapter wrote this file itself, one line earlier, to show what a pickle can do
    ("notebooks/04_building_blocks.ipynb", "torch.load(foreign, weights_only=False)"),
    # text that stands in the same cell
    ("notebooks/01_tensors.ipynb", "eval(left)"),
    ("notebooks/01_tensors.ipynb", "eval(right)"),
    (
        "notebooks/01_tensors.ipynb",
        "eval('torch.from_numpy(np.ones([1, 2]))', {'torch': torch})",
    ),
    ("notebooks/04_building_blocks.ipynb", "exec(line, {'torch': torch, 'nn': nn})"),
}
RUNS_CODE = re.compile(
    r"(.*\.)?(Unpickler|read_pickle|joblib\.load|dill\.loads?|cloudpickle\.loads?|shelve\.open"
    r"|marshal\.loads?|pickle\.loads?|jsonpickle\.decode|yaml\.(load|unsafe_load)|hub\.load)"
    r"|eval|exec|builtins\.(eval|exec)"
)


def dangers(source: str) -> list[str]:
    """The calls in a program that may run code from a file, and the classes made of such."""
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))
    names = {}  # what imports call things here
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [_full(base, names) for base in node.bases]
            if any(map(RUNS_CODE.fullmatch, bases)):
                found.append(f"class {node.name}({', '.join(bases)})")
        if isinstance(node, ast.Call):
            name = _full(node.func, names)
            safe = {
                k.arg: isinstance(k.value, ast.Constant) and k.value.value for k in node.keywords
            }
            if (
                RUNS_CODE.fullmatch(name)
                or (name == "torch.load" and safe.get("weights_only") is not True)
                or (name == "numpy.load" and safe.get("allow_pickle", False) is not False)
            ):
                found.append(ast.unparse(node))
    return found


def _full(node: ast.expr, names: dict[str, str]) -> str:
    first, dot, rest = ast.unparse(node).partition(".")
    return names.get(first, first) + dot + rest


@pytest.mark.parametrize(
    "source, count",
    [
        ("import pickle\npickle.load(f)", 1),
        ("from pickle import loads as read\nread(b'')", 1),
        ("import pickle as p\nclass U(p.Unpickler): pass", 1),
        ("import torch\ntorch.load(f)", 1),
        ("import torch\ntorch.load(f, weights_only=False)", 1),
        ("import torch\ntorch.load(f, weights_only=flag)", 1),
        ("import torch\ntorch.load(f, weights_only=True)", 0),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", 1),
        ("import numpy as np\nnp.load(f)\nnp.load(f, allow_pickle=False)", 0),
        ("import pandas as pd\npd.read_pickle(f)", 1),
        ("from joblib import load\nload(f)", 1),
        ("import joblib\njoblib.load(f)", 1),
        ("eval(text)\nexec(text)", 2),
        ("model.eval()\nast.literal_eval(text)", 0),
        ("%matplotlib inline\npickle.dumps(1)", 0),
    ],
)
def test_what_counts_as_dangerous(source, count):
    assert len(dangers(source)) == count


def test_nothing_opens_what_could_run_code():
    found, programs = set(), 0
    for folder in ("utils", "tools", "data", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            if "cache" not in path.parts:
                programs += 1
                for danger in dangers(path.read_text(encoding="utf-8")):
                    if folder != "tools" or not danger.startswith("exec("):
                        found.add((path, danger))  # tools may run the chapters' own code
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        if not path.name.startswith("."):
            programs += 1
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell["cell_type"] == "code":
                    found |= {(path, danger) for danger in dangers("".join(cell["source"]))}
    assert programs > 60
    assert {(path.relative_to(ROOT).as_posix(), danger) for path, danger in found} == CHECKED


# --- the disk is full -----------------------------------------------------------------------------


class SmallDisk:
    """A file system of 6 MB that only this test sees, within its own mount namespace."""

    def __init__(self, inside: Path) -> None:
        self.inside = inside
        inside.mkdir()
        script = 'mount -t tmpfs -o size=6m none "$0" && echo ready && exec cat'
        self.holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(inside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.works = self.holder.stdout.readline() == b"ready\n"
        self.outside = Path(f"/proc/{self.holder.pid}/root{inside}")
        """The same folder for this process."""

    def command(self, command: list[str]) -> list[str]:
        enter = ["nsenter", "--user", "--mount", "--preserve-credentials"]
        return [*enter, f"--target={self.holder.pid}", "--", *command]

    def leave(self, free: int) -> None:
        """Leave only so many bytes free (whole pages of 4096)."""
        filler = self.outside / "filler"
        filler.unlink(missing_ok=True)
        if free < shutil.disk_usage(self.outside).free:
            filler.write_bytes(bytes(shutil.disk_usage(self.outside).free - free))

    def close(self) -> None:
        self.holder.stdin.close()
        self.holder.wait(10)


class LimitedFiles:
    """Where no disk can be mounted: a limit on the size of a file makes writing fail half-way too."""

    def __init__(self, inside: Path) -> None:
        self.inside = self.outside = inside
        inside.mkdir()
        self.limit: int | None = None

    def command(self, command: list[str]) -> list[str]:
        if self.limit is None:
            return command
        return ["sh", "-c", f'ulimit -f {self.limit // 512}; exec "$@"', "sh", *command]

    def leave(self, free: int) -> None:
        self.limit = free if free < 10**6 else None

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def disk(tmp_path) -> Iterator[SmallDisk | LimitedFiles]:
    """A small disk; ``inside`` is its folder for commands, ``outside`` for the test."""
    found = None
    if shutil.which("unshare") and shutil.which("nsenter"):
        found = SmallDisk(tmp_path / "disk")
    if found is None or not found.works:
        found = LimitedFiles(tmp_path / "limited")
    yield found
    found.close()


def on_disk(disk: SmallDisk | LimitedFiles, command: list[str], **environment: str):
    done = subprocess.run(
        disk.command(command),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_a_run_on_a_full_disk_and_after_it(disk, tmp_path):
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    write_chapter(chapters, "01_one", "print('x' * 300_000)")
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(chapters)]
    command += ["--build", str(disk.inside / "build")]
    disk.leave(100 * 1024)
    done = on_disk(disk, command)
    assert done.returncode in (1, 2)
    assert "cannot be written" in done.stdout + done.stderr
    for path in (disk.outside / "build").rglob("*.ipynb"):
        read_notebook(path)
    if (disk.outside / "build" / "results.json").exists():
        (chapter,) = json.loads((disk.outside / "build" / "results.json").read_text())["chapters"]
        assert chapter["status"] == "failed"
    assert not list((disk.outside / "build").rglob(".*.tmp"))

    disk.leave(10**9)
    done = on_disk(disk, command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_last_bytes_of_a_disk_are_gone_before_the_run_starts(disk, tmp_path):
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    write_chapter(chapters, "01_one")
    disk.leave(0)
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(chapters)]
    done = on_disk(disk, [*command, "--build", str(disk.inside / "build")])
    assert done.returncode in (1, 2)
    assert "cannot be written" in done.stdout + done.stderr
    assert not (disk.outside / "build" / "results.json").exists() or done.returncode == 1


@pytest.mark.parametrize("module, options", [("refresh", ()), ("exercises", ("--execute",))])
def test_author_commands_on_a_full_disk(disk, module, options):
    paths = course(disk.outside, "print('x' * 300_000)")
    before = [path.read_bytes() for path in paths]
    disk.leave(64 * 1024)
    done = on_disk(disk, in_course(disk.inside, module, *options))
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: 01_one is left as it was: it cannot be written: ")
    assert [path.read_bytes() for path in paths] == before
    assert not list(disk.outside.rglob(".*.tmp"))


def test_exercises_that_cannot_be_written(disk):
    _, solutions = course(disk.outside, "x = 1")
    nb = read_notebook(solutions)
    nb.cells[1].source = "x = 1" + "\n# a long story" * 5000
    write_notebook(nb, solutions)
    target = disk.outside / "notebooks" / "exercises" / "01_one.ipynb"
    target.parent.mkdir()
    target.write_text("old")
    disk.leave(16 * 1024)
    done = on_disk(disk, in_course(disk.inside, "exercises"))
    assert done.returncode == 2
    assert re.fullmatch(r"error: the exercises cannot be written: [^.\n]+\.\n", done.stderr)
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["01_one.ipynb"]


def test_a_download_onto_a_full_disk(disk, habits, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    disk.leave(100 * 1024)
    done = on_disk(disk, fetcher(habits), COURSE_DATA_CACHE=str(disk.inside / "cache"))
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert re.search(r"the disk is full|File too large", sentence)
    assert left_behind(disk.outside / "cache") in ([], ["toy"])
    disk.leave(10**9)
    done = on_disk(disk, fetcher(habits), COURSE_DATA_CACHE=str(disk.inside / "cache"))
    assert done.returncode == 0
    assert (disk.outside / "cache" / "toy" / "x.bin").read_bytes() == CONTENT


def test_the_record_and_the_grades_on_a_full_disk(disk, tmp_path):
    record, table = disk.outside / "record.json", disk.outside / "grades.csv"
    old = json.dumps({f"{i:02}.1": "solved" for i in range(1, 15)})
    record.write_text(old)
    table.write_text("old")
    (tmp_path / "submissions" / "ada").mkdir(parents=True)
    disk.leave(0)
    program = "from utils import progress; progress.record('02.9', 'solved')"
    named = str(disk.inside / "record.json")
    done = on_disk(disk, [sys.executable, "-c", program], COURSE_PROGRESS=named)
    assert (done.returncode, done.stderr) == (0, "")  # the answer of a check matters more
    assert record.read_text() == old

    command = [sys.executable, "-m", "utils.grade", str(tmp_path / "submissions")]
    done = on_disk(disk, [*command, "--output", str(disk.inside / "grades.csv")])
    assert done.returncode == 2
    assert re.fullmatch(r"error: .+\n", done.stderr)
    assert table.read_text() == "old"
    there = {p.name for p in disk.outside.iterdir() if p.suffix != ".lock"}
    assert there - {"filler"} == {"grades.csv", "record.json"}


# --- two at once ----------------------------------------------------------------------------------


def both(*commands: list[str], **environment: str) -> list[subprocess.CompletedProcess]:
    """Run commands side by side to their ends."""

    def one(command: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(one, commands))


def test_two_runs_into_two_folders(tmp_path):
    """The same folder is refused: see test_run.py."""
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    write_chapter(chapters, "01_one")
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(chapters), "--build"]
    for number, done in enumerate(
        both(*([*command, str(tmp_path / f"build{n}")] for n in range(2)))
    ):
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((tmp_path / f"build{number}" / "results.json").read_text())
        assert [c["status"] for c in record["chapters"]] == ["passed"]


def test_two_refreshes_of_one_chapter(tmp_path):
    """The last one wins, whole."""
    chapter, _ = course(tmp_path, "print('z' * 200_000)")
    for done in both(*[in_course(tmp_path, "refresh")] * 2):
        assert done.returncode == 0, done.stderr
    nb = read_notebook(chapter)
    assert nb.cells[1].outputs[0].text == "z" * 200_000 + "\n"
    assert [p.name for p in chapter.parent.glob("*01*")] == ["01_one.ipynb"]
    assert not list(chapter.parent.glob(".*"))


def test_no_entry_is_lost_when_several_record(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "record.json"))
    start = tmp_path / "start"
    program = f"""if True:
        import pathlib, sys, time
        from utils import progress
        while not pathlib.Path({str(start)!r}).exists():
            time.sleep(0.001)
        for i in range(1, 31):
            progress.record(sys.argv[1] + f".{{i}}", "solved")"""
    chapters = ("01", "02", "03")
    processes = [subprocess.Popen([sys.executable, "-c", program, c]) for c in chapters]
    time.sleep(0.5)
    start.touch()
    assert [process.wait(180) for process in processes] == [0, 0, 0]
    assert progress.load() == {f"{c}.{i}": "solved" for c in chapters for i in range(1, 31)}


# --- malformed notebooks --------------------------------------------------------------------------


def stored(**changes: object) -> str:
    """A good notebook as it is stored, with other values for its keys; None leaves one out."""
    cells = [
        new_markdown_cell("# 01 · One: solutions", id="title"),
        new_code_cell("SEED = 42", id="parameters", metadata={"tags": ["parameters"]}),
    ]
    content = {**json.loads(v4.writes(v4.new_notebook(cells=cells))), **changes}
    return json.dumps({key: value for key, value in content.items() if value is not None})


def cell(**changes: object) -> dict:
    content = {"cell_type": "code", "id": "a", "metadata": {}, "source": "x = 1", "outputs": []}
    content = {**content, "execution_count": None, **changes}
    return {key: value for key, value in content.items() if value is not None or key == "count"}


CODE = {"execution_count": None}
MALFORMED: dict[str, bytes] = {
    "01_empty": b"",
    "02_no_json": b"print('hello')\n",
    "03_truncated": stored().encode()[:-40],
    "04_a_list": b"[1, 2, 3]",
    "05_format_3": stored(nbformat=3, nbformat_minor=0, cells=None, worksheets=[]).encode(),
    "06_no_cells": stored(cells=None).encode(),
    "07_no_source": stored(cells=[{**cell(source=None), **CODE}]).encode(),
    "08_wrong_types": stored(cells=[{**cell(source=5), **CODE}], metadata=[]).encode(),
    "09_binary": random.Random(9).randbytes(5000),
    "10_utf16": stored().encode("utf-16"),
    "11_another_language": stored(
        metadata={"kernelspec": {"name": "klingon", "display_name": "K", "language": "klingon"}}
    ).encode(),
    "12_parameters_compute": stored(
        cells=[{**cell(source="SEED = 6 * 7", metadata={"tags": ["parameters"]}), **CODE}]
    ).encode(),
}
READABLE = {"11_another_language", "12_parameters_compute"}
"""These are notebooks, but no good chapters."""
HUGE = "90_huge"


@pytest.fixture
def zoo(tmp_path) -> Path:
    """A folder with the malformed notebooks, and a good one whose stored output is huge."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name, content in MALFORMED.items():
        (folder / f"{name}.ipynb").write_bytes(content)
    path = write_chapter(folder, HUGE)
    nb = read_notebook(path)
    nb.cells[-1].outputs = [v4.new_output("stream", text="0123456789 abcdef\n" * 100_000)]
    write_notebook(nb, path)
    return folder


def test_malformed_notebooks_in_a_run(zoo, tmp_path):
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(zoo)]
    done = subprocess.run(
        [*command, "--build", str(tmp_path / "build")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    record = json.loads((tmp_path / "build" / "results.json").read_text())
    found = {chapter["name"]: chapter for chapter in record["chapters"]}
    assert found.keys() == {*MALFORMED, HUGE}
    assert found[HUGE]["status"] == "passed", found[HUGE]
    for name in MALFORMED:
        assert found[name]["status"] == "failed"
        assert_one_sentence("The " + found[name]["error"])
        assert "worker died" not in found[name]["error"]
        (line,) = [x for x in done.stdout.splitlines() if x.startswith(f"{name}: failed")]
        assert found[name]["error"] in line
        if name not in READABLE:
            assert f"{name}.ipynb" in found[name]["error"]


def test_malformed_notebooks_in_a_refresh(zoo, capsys):
    paths = sorted(zoo.iterdir())
    before = {path.name: path.read_bytes() for path in paths}
    lines: list[str] = []
    failures = refresh.refresh(paths, 60, say=lines.append)
    refused = [name for name in MALFORMED if name != "12_parameters_compute"]
    assert [failure.partition(" ")[0] for failure in failures] == refused
    for failure in failures:
        assert_one_sentence("The " + failure)
    # to refresh means to execute, and 6 * 7 can be executed; the checker objects to it
    assert [line.partition(":")[0] for line in lines] == ["12_parameters_compute", HUGE]
    after = {path.name: path.read_bytes() for path in paths}
    assert {n for n in after if after[n] != before[n]} == {
        "12_parameters_compute.ipynb",
        f"{HUGE}.ipynb",
    }


def test_malformed_notebooks_in_the_checker(zoo, capsys):
    assert checker.main([str(path) for path in sorted(zoo.iterdir())]) == 1
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    for name in MALFORMED:
        mine = [line for line in lines if line.startswith(f"{name}.ipynb")]
        assert len(mine) == 1 or name in READABLE, mine
    assert "11_another_language.ipynb: The kernel is not python3." in lines
    assert any(
        line.startswith("12_parameters_compute.ipynb: Cell 1 holds the parameters")
        for line in lines
    )
    assert any(re.match(rf"{HUGE}\.ipynb: The file has \d{{4,}} kB", line) for line in lines)
    assert lines[-1] == f"0 of {len(MALFORMED) + 1} notebooks are in order."


def test_malformed_submissions_are_graded_as_unreadable(zoo, tmp_path):
    submissions = tmp_path / "submissions"
    unreadable = [name for name in MALFORMED if name not in READABLE]
    for name in unreadable:
        (submissions / name).mkdir(parents=True)
        shutil.copy(zoo / f"{name}.ipynb", submissions / name / "02_autograd.ipynb")
    (submissions / "zoe").mkdir()
    assert grade.main([str(submissions)]) == 0
    grades = (submissions / "grades.csv").read_text(encoding="utf-8").splitlines()
    for name in unreadable:
        mine = [line for line in grades if line.startswith(f"{name},")]
        assert len(mine) >= 4
        assert all(",unreadable," in line and "02_autograd.ipynb" in line for line in mine)
    assert all(",missing," in line for line in grades if line.startswith("zoe,"))


def test_malformed_solutions_do_not_stop_the_others(zoo, tmp_path, capsys, monkeypatch):
    solutions = tmp_path / "notebooks" / "solutions"
    shutil.copytree(zoo, solutions)
    (solutions / "13_no_cell.ipynb").write_text(stored(cells=[]))
    (solutions / "14_good.ipynb").write_text(stored())
    monkeypatch.setattr(exercises, "repository_root", lambda: tmp_path)
    assert exercises.main([]) == 1
    output = capsys.readouterr()
    failed = [line.removeprefix("error: ").partition(":")[0].partition(".")[0].split()[0]
              for line in output.err.splitlines()]  # fmt: skip
    expected = [name for name in MALFORMED if name not in READABLE]
    assert failed == sorted([*expected, "13_no_cell", HUGE, "12_parameters_compute"])
    assert {p.name for p in (tmp_path / "notebooks" / "exercises").iterdir()} == {
        "11_another_language.ipynb",
        "14_good.ipynb",
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="deep"),
        pytest.param(stored(metadata={"x": 1}).replace("1}", "9" * 5000 + "}"), id="long number"),
        pytest.param(stored().replace("SEED = 42", "SEED = {[]: 1}"), id="no literal"),
        pytest.param(stored().replace("SEED = 42", "SEED = " + "-" * 50_000 + "1"), id="minus"),
    ],
)
def test_what_python_itself_cannot_hold(text, tmp_path):
    path = tmp_path / "01_one.ipynb"
    path.write_text(text)
    with pytest.raises(CourseError) as caught:
        notebooks.parameters_of(read_notebook(path))
    assert_one_sentence("The " + str(caught.value))
    assert checker.check_notebook(path)


def test_what_is_no_unicode_is_refused_in_a_sentence(tmp_path):
    """Half of a surrogate pair is valid JSON, but cannot be written in UTF-8."""
    path = tmp_path / "01_one.ipynb"
    path.write_text(stored().replace("SEED = 42", "SEED = 42 # \\ud83d"))
    before = path.read_bytes()
    (failure,) = refresh.refresh([path], 60)
    assert "01_one is left as it was" in failure
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
