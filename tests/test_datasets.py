"""The data sets: what is in them, and what happens when a file is missing, damaged or far away."""

import errno
import hashlib
import http.server
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from utils import datasets
from utils.datasets import RemoteFile
from utils.runtime import CourseError

DATA = Path(__file__).resolve().parents[1] / "data"
BUNDLED = [file for files in datasets.BUNDLED.values() for file in files]


@pytest.fixture(autouse=True)
def forget():
    """Verify anew in every test."""
    datasets.forget_verified()
    yield
    datasets.forget_verified()


def assert_one_sentence(message: str) -> None:
    """The message is one line and one sentence."""
    assert "\n" not in message
    assert message[0].isupper() or message.split(maxsplit=1)[0].startswith(("ind.", "in_", "x."))
    assert message.endswith(".")
    assert ". " not in message


# --- what is in the bundled files ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "train", "test"),
    [(datasets.load_mnist, 400, 100), (datasets.load_fashion_mnist, 1000, 200)],
)
def test_images_are_balanced_and_distinct(load, train, test):
    data = load()
    for images, labels, per_class in (
        (data.train_images, data.train_labels, train),
        (data.test_images, data.test_labels, test),
    ):
        assert images.shape == (10 * per_class, 28, 28)
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [per_class] * 10
        assert images.min() == 0
        assert images.max() == 255
        # mixed: a run of one class would spoil mini-batches
        assert max(len(set(labels[i : i + 64])) for i in range(0, len(labels), 64)) == 10
        assert min(len(set(labels[i : i + 64])) for i in range(0, len(labels) - 64, 64)) >= 8
    train_pictures = {image.tobytes() for image in data.train_images}
    assert not train_pictures & {image.tobytes() for image in data.test_images}
    assert len(data.class_names) == 10


def test_digits_look_like_their_labels():
    """A one covers less paper than a zero: labels and images belong together."""
    data = datasets.load_mnist()
    ink = [data.train_images[data.train_labels == digit].mean() for digit in range(10)]
    assert np.argmin(ink) == 1
    assert np.argmax(ink) == 0
    means = np.stack([data.train_images[data.train_labels == d].mean(0) for d in range(10)])
    distances = ((data.test_images[:, None] - means) ** 2).sum((2, 3))
    assert (distances.argmin(1) == data.test_labels).mean() > 0.75


def test_adult_is_the_official_split():
    adult = datasets.load_adult()
    assert adult.train.shape == (32561, 15)
    assert adult.test.shape == (16281, 15)
    assert list(adult.train.columns) == list(adult.test.columns)
    assert adult.train.columns[-1] == "income"
    assert adult.train.isna().sum().sum() == 4262
    assert adult.test.isna().sum().sum() == 2203
    assert set(adult.test.columns[adult.test.isna().any()]) == {
        "workclass",
        "occupation",
        "native-country",
    }
    assert adult.train["income"].value_counts().to_dict() == {"<=50K": 24720, ">50K": 7841}
    assert adult.test["income"].value_counts().to_dict() == {"<=50K": 12435, ">50K": 3846}
    assert adult.train.iloc[0].tolist()[:3] == [39, "State-gov", 77516]
    assert adult.train.select_dtypes("number").columns.tolist() == [
        "age",
        "fnlwgt",
        "education-num",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
    ]


# the first rows of UCI's german.data-numeric, and the amounts of rows where 50 had to be rounded
UCI_NUMERIC = """
1 6 4 12 5 5 3 4 1 67 3 2 1 2 1 0 0 1 0 0 1 0 0 1 1
2 48 2 60 1 3 2 2 1 22 3 1 1 1 1 0 0 1 0 0 1 0 0 1 2
4 12 4 21 1 4 3 3 1 49 3 1 2 1 1 0 0 1 0 0 1 0 1 0 1
1 42 2 79 1 4 3 4 2 45 3 1 2 1 1 0 0 0 0 0 0 0 0 1 1
1 24 3 49 1 3 3 4 4 53 3 2 2 1 1 1 0 1 0 0 0 0 0 1 2
"""
UCI_ROUNDED = {
    171: 10,
    253: 22,
    367: 38,
    368: 36,
    465: 20,
    508: 68,
    543: 64,
    552: 18,
    641: 8,
    664: 10,
    677: 52,
    726: 2,
}


def test_german_credit():
    german = datasets.load_german_credit()
    assert german.raw.shape == (1000, 21)
    assert german.numeric.shape == (1000, 25)
    for table in (german.raw, german.numeric):
        assert table["label"].value_counts().to_dict() == {1: 700, 2: 300}
        assert not table.isna().any().any()
    assert set(german.numeric.dtypes) == {np.dtype("int64")}
    assert len(german.raw.select_dtypes("number").columns) == 8
    expected = [[int(value) for value in line.split()] for line in UCI_NUMERIC.split("\n") if line]
    assert german.numeric.iloc[:5].to_numpy().tolist() == expected
    rounded = german.numeric["credit_amount_hundreds"]
    assert {row: rounded[row - 1] for row in UCI_ROUNDED} == UCI_ROUNDED


def test_karate_club_is_that_of_networkx():
    import networkx

    club = datasets.load_karate_club()
    graph = networkx.karate_club_graph()
    assert club.adjacency.dtype == np.float32
    assert np.array_equal(club.adjacency, networkx.to_numpy_array(graph, weight=None))
    assert club.adjacency.sum() == 2 * 78
    assert [("Mr. Hi", "Officer")[label] for label in club.labels] == [
        graph.nodes[node]["club"] for node in graph
    ]


# --- Chicago -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chicago():
    return datasets.load_chicago_l()


def test_chicago_has_every_day(chicago):
    days = pd.date_range("2001-01-08", "2016-08-14", freq="D", name="date")
    assert chicago.ridership.shape == (5698, 20)
    assert chicago.weather.shape == (5698, 18)
    assert chicago.events.shape == (5698, 10)
    for table in (chicago.ridership, chicago.weather, chicago.events, chicago.undelayed):
        assert table.index.equals(days)
        assert table.index.freq == "D"
    assert set(chicago.ridership.dtypes) == {np.dtype("int64")}
    assert chicago.ridership.min().min() == 0
    for table in (chicago.weather, chicago.events):
        assert table.iloc[:14].isna().all().all()
        assert not table.iloc[14:].isna().any().any()


def agrees_with_the_undelayed_column(ridership: pd.DataFrame, undelayed: pd.Series) -> bool:
    """Whether Clark/Lake equals the column that was never delayed wherever both are known."""
    both = pd.concat([ridership["Clark_Lake"], undelayed], axis=1, keys=["ours", "proof"]).dropna()
    assert len(both) > 5600
    return bool((both["ours"] == both["proof"]).all())


def test_chicago_ridership_stands_at_the_right_dates(chicago):
    assert chicago.undelayed.notna().sum() == 5684
    assert agrees_with_the_undelayed_column(chicago.ridership, chicago.undelayed)


@pytest.mark.parametrize("days", [-1, 1, 7, 14])
def test_a_shift_would_be_noticed(chicago, days):
    assert not agrees_with_the_undelayed_column(chicago.ridership.shift(days), chicago.undelayed)


def test_weather_and_games_stand_at_the_right_dates(chicago):
    # the polar vortex, the blizzard of 2011, a home game of the Bears
    assert chicago.weather["temp"]["2014-01-04":"2014-01-08"].idxmin() == pd.Timestamp("2014-01-06")
    assert chicago.weather["weather_snow"]["2011-01":"2011-02"].idxmax() == pd.Timestamp(
        "2011-02-01"
    )
    assert chicago.events["Bears_Home"].sum() == 158
    sundays = chicago.events["Bears_Home"].eq(1) & (chicago.events.index.day_of_week == 6)
    assert sundays.sum() > 100


def test_chicago_holidays_are_the_quietest_days(chicago):
    """The data card says so; a wrong calendar would not show it."""
    total = chicago.ridership.sum(axis=1)
    quietest = total.groupby(total.index.year).idxmin()
    assert {(day.month, day.day) for day in quietest[:-1]} == {(12, 25)}


def closures(ridership: pd.DataFrame, station: str) -> list[str]:
    """Weekend days on which a station that is open as a rule counts fewer than 60 passengers."""
    counts = ridership[station]
    weekend = counts.index.day_of_week >= 5
    return [str(day.date()) for day in counts.index[weekend & (counts < 60)]]


def test_chicago_closures_of_the_data_card(chicago):
    zeros = (chicago.ridership == 0).sum()
    assert zeros[zeros > 0].to_dict() == {
        "Quincy_Wells": 23,
        "Clinton": 20,
        "Merchandise_Mart": 4,
        "Irving_Park": 4,
        "Washington_Wells": 22,
        "Harlem": 6,
        "Monroe": 20,
        "Polk": 135,
        "Addison": 2,
        "Montrose": 6,
    }
    assert (
        chicago.ridership.index[chicago.ridership["Polk"] == 0].max().date().isoformat()
        == "2004-12-12"
    )
    last_year = chicago.ridership.iloc[-365:]
    assert str(last_year.index[0].date()) == "2015-08-16"
    assert closures(last_year, "Addison") == [
        "2016-03-05",
        "2016-03-06",
        "2016-03-19",
        "2016-03-20",
        "2016-06-11",
        "2016-06-12",
        "2016-06-18",
        "2016-06-19",
        "2016-08-06",
        "2016-08-07",
    ]
    assert closures(last_year, "Montrose") == [
        "2016-04-30",
        "2016-05-01",
        "2016-06-04",
        "2016-06-05",
    ]
    mart = closures(last_year, "Merchandise_Mart")
    assert (mart[0], mart[-1]) == ("2015-08-22", "2015-09-27")
    others = set(last_year.columns) - {"Addison", "Montrose", "Merchandise_Mart"}
    assert not any(closures(last_year, station) for station in others)


def test_chicago_quirks_of_the_data_card(chicago):
    baseball = chicago.events[["WhiteSox_Away", "WhiteSox_Home", "Cubs_Away", "Cubs_Home"]]
    assert (baseball.iloc[14:].nunique(axis=1) == 1).all()
    assert baseball["Cubs_Home"].sum() == 2699
    assert chicago.weather["wind_max"].max() == 406.2
    assert chicago.weather["pressure_change"].max() == 26.92


def test_chicago_network_joins_the_stations_of_the_ridership(chicago):
    network = datasets.load_chicago_network()
    assert network.stations == tuple(chicago.ridership.columns)
    table = network.connections
    assert list(table.columns) == ["line", "station", "neighbour"]
    assert table["line"].value_counts().to_dict() == {
        "Blue": 10,
        "Orange": 7,
        "Brown": 4,
        "Pink": 4,
        "Purple": 4,
        "Green": 1,
    }
    pairs = {frozenset(pair) for pair in zip(table["station"], table["neighbour"], strict=True)}
    assert len(pairs) == 23
    assert set().union(*pairs) == set(network.stations)
    assert sum("Clark_Lake" in pair for pair in pairs) == 8


@pytest.mark.parametrize("line", ["Blue", "Brown", "Green", "Orange", "Pink", "Purple"])
def test_each_chicago_line_is_one_walk(line):
    """A row starts where the row before it ends; a line that goes round the Loop returns to it."""
    table = datasets.load_chicago_network().connections.query("line == @line")
    starts, ends = table["station"].tolist(), table["neighbour"].tolist()
    assert starts[1:] == ends[:-1]
    stops = [starts[0], *ends]
    closes = stops[-1] in stops[:-1]
    assert closes == (line in {"Brown", "Orange", "Pink", "Purple"})


# --- bundled files: checksums, damage ------------------------------------------------------------


def test_the_checksums_cover_the_bundled_files_and_nothing_else():
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    assert all(line[64:66] == "  " for line in lines)  # the format of `sha256sum -c`
    assert sorted(sums) == sorted(BUNDLED)
    for file, digest in sums.items():
        assert hashlib.sha256((DATA / file).read_bytes()).hexdigest() == digest
    on_disk = [path.name for p in ("*.npz", "*.csv", "*.gz") for path in DATA.glob(p)]
    assert sorted(on_disk) == sorted(BUNDLED)
    assert sum((DATA / file).stat().st_size for file in BUNDLED) < 15e6


def test_the_data_card_gives_size_and_checksum_of_every_file():
    card = (DATA / "README.md").read_text(encoding="utf-8")
    for line in (DATA / "SHA256SUMS").read_text().splitlines():
        digest, file = line.split()
        row = next(row for row in card.splitlines() if row.startswith(f"| `{file}`"))
        assert digest in row
        assert f"{(DATA / file).stat().st_size:,}" in row


@pytest.fixture
def copied_data(tmp_path, monkeypatch):
    """A copy of the data folder that a test may damage."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("SHA256SUMS", *BUNDLED):
        shutil.copy(DATA / name, folder / name)
    monkeypatch.setattr(datasets, "DATA_DIR", folder)
    return folder


LOADERS = {
    "mnist_5k.npz": datasets.load_mnist,
    "fashion_mnist_12k.npz": datasets.load_fashion_mnist,
    "adult.csv.gz": datasets.load_adult,
    "german_credit.csv": datasets.load_german_credit,
    "german_credit_numeric.csv": datasets.load_german_credit,
    "chicago_l.csv.gz": datasets.load_chicago_l,
    "karate_club.csv": datasets.load_karate_club,
    "chicago_l_network.csv": datasets.load_chicago_network,
}


def test_every_bundled_file_has_a_loader_here():
    assert sorted(LOADERS) == sorted(BUNDLED)


@pytest.mark.parametrize("file", BUNDLED)
def test_a_damaged_bundled_file_is_refused(copied_data, file):
    LOADERS[file]()
    datasets.forget_verified()
    content = bytearray((copied_data / file).read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    (copied_data / file).write_bytes(content)
    with pytest.raises(CourseError, match=f"data/{file} is damaged") as caught:
        LOADERS[file]()
    assert f"`git checkout -- data/{file}`" in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("file", BUNDLED)
def test_a_missing_bundled_file_is_named(copied_data, file):
    (copied_data / file).unlink()
    with pytest.raises(CourseError, match=f"data/{file} is missing") as caught:
        LOADERS[file]()
    assert f"`git checkout -- data/{file}`" in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("text", [None, "rubbish", "\udcff"])
def test_missing_or_damaged_checksums_are_named(copied_data, text):
    sums = copied_data / "SHA256SUMS"
    sums.unlink()
    if text is not None:
        sums.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CourseError, match="git checkout -- data/SHA256SUMS") as caught:
        datasets.load_mnist()
    assert_one_sentence(str(caught.value))


def test_a_file_is_verified_once_in_a_process(monkeypatch):
    first = datasets.load_karate_club()
    monkeypatch.setattr(datasets, "_sha256", lambda path: pytest.fail("hashed twice"))
    first.adjacency[:] = 7  # a caller may do with the arrays what they like
    first.labels[:] = 7
    assert datasets.load_karate_club().adjacency.max() == 1


def test_loaded_data_are_fresh():
    for load in (datasets.load_mnist, datasets.load_fashion_mnist):
        load().train_images[:] = 0
        assert load().train_images.max() == 255
    changed = datasets.load_chicago_l()
    changed.ridership.iloc[:] = -1
    changed.weather.iloc[:] = -1
    assert datasets.load_chicago_l().ridership.min().min() == 0


def test_small_loaders_import_nothing_heavy():
    code = (
        "import sys; from utils.datasets import load_mnist, load_karate_club, cora_available;"
        "load_mnist(); load_karate_club(); cora_available();"
        "heavy = {'torch', 'pandas', 'networkx', 'scipy', 'pooch', 'requests', 'filelock'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- optional data: a server with bad habits -----------------------------------------------------

CONTENT = bytes(range(256)) * 40


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; a test may change what is sent, and how."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = CONTENT
        self.announced: int | None = len(CONTENT)  # Content-Length
        self.delay = 0.0
        self.stall = False  # send the body, then nothing, and leave the connection open
        self.stalled = threading.Event()
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/x.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server says."""

    def do_GET(self):
        self.server.requests += 1
        threading.Event().wait(self.server.delay)
        self.send_response(self.server.status)
        if self.server.announced is not None:
            self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        self.wfile.write(self.server.body)
        if self.server.stall:
            self.wfile.flush()
            self.server.stalled.set()
            threading.Event().wait(20)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(server, tmp_path, monkeypatch):
    """An optional set ``toy`` of one file ``x.bin``, and the empty cache that it goes to."""
    wanted = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(datasets.OPTIONAL, "toy", {"x.bin": RemoteFile(server.url, wanted)})
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "toy"


def left_behind(cache: Path) -> list[str]:
    """Everything in the cache but the lock."""
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.name != ".lock"]


def fetch() -> Path:
    return datasets._optional("toy", "x.bin")


def fetch_in_a_process(server: Server) -> str:
    """A program that fetches the toy set."""
    return (
        "from utils import datasets\n"
        f"file = datasets.RemoteFile({server.url!r}, {hashlib.sha256(CONTENT).hexdigest()!r})\n"
        "datasets.OPTIONAL['toy'] = {'x.bin': file}\n"
        "raise SystemExit(datasets.main(['fetch', 'toy']))\n"
    )


def test_a_download_is_kept_and_not_repeated(server, remote):
    assert fetch() == remote / "x.bin"
    assert fetch().read_bytes() == CONTENT
    assert server.requests == 1
    assert left_behind(remote) == ["x.bin"]


CUTS = [0, 1, 100, len(CONTENT) // 2, len(CONTENT) - 1]


@pytest.mark.parametrize("announced", ["whole", "cut", "nothing"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_truncated_download_leaves_nothing(server, remote, cut, announced):
    server.body = CONTENT[:cut]
    server.announced = {"whole": len(CONTENT), "cut": cut, "nothing": None}[announced]
    with pytest.raises(CourseError, match=r"make data-full") as caught:
        fetch()
    assert_one_sentence(str(caught.value))
    assert left_behind(remote) == []
    server.body, server.announced = CONTENT, len(CONTENT)
    assert fetch().read_bytes() == CONTENT
    assert left_behind(remote) == ["x.bin"]


def test_a_corrupted_download_leaves_nothing(server, remote):
    server.body = b"?" + CONTENT[1:]
    with pytest.raises(CourseError, match="not the expected file"):
        fetch()
    assert left_behind(remote) == []
    server.body = CONTENT
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_an_error_page_is_not_data(server, remote, status):
    server.status = status
    with pytest.raises(CourseError, match=f"the server answers {status}") as caught:
        fetch()
    assert_one_sentence(str(caught.value))
    assert left_behind(remote) == []


def test_no_connection(server, remote, monkeypatch):
    with socket.socket() as listener:  # a port that nobody listens on
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    wanted = datasets.OPTIONAL["toy"]["x.bin"].sha256
    nowhere = RemoteFile(f"http://127.0.0.1:{port}/x.bin", wanted)
    monkeypatch.setitem(datasets.OPTIONAL, "toy", {"x.bin": nowhere})
    with pytest.raises(CourseError, match="no connection") as caught:
        fetch()
    assert "COURSE_DATA_MIRROR" in str(caught.value)
    assert_one_sentence(str(caught.value))
    assert left_behind(remote) == []


def fail_half_way(error: BaseException):
    """A downloader that writes half of the file and then fails."""

    def download(self, url, output_file, pooch, check_only=False):
        output = Path(output_file) if isinstance(output_file, str) else output_file
        output.write_bytes(CONTENT[: len(CONTENT) // 2])
        raise error

    return download


def test_an_interrupted_download_leaves_nothing(server, remote, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", fail_half_way(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            fetch()
        assert left_behind(remote) == []
        assert datasets.main(["fetch", "toy"]) == 1
        assert "interrupted" in capsys.readouterr().err
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "COURSE_DATA_CACHE"),
        (errno.EROFS, "COURSE_DATA_CACHE"),
    ],
)
def test_a_full_or_write_protected_disk(server, remote, monkeypatch, number, words):
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fail_half_way(error))
    with pytest.raises(CourseError, match=words) as caught:
        fetch()
    assert_one_sentence(str(caught.value))
    assert left_behind(remote) == []


def test_a_cache_that_cannot_be_made(server, remote, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CourseError, match="Not a directory") as caught:
        fetch()
    assert_one_sentence(str(caught.value))
    assert server.requests == 0


def test_a_killed_process_leaves_nothing_that_stays(server, remote):
    server.body, server.stall = CONTENT[: len(CONTENT) // 2], True
    process = subprocess.Popen([sys.executable, "-c", fetch_in_a_process(server)])
    while not server.stalled.wait(0.05):
        assert process.poll() is None
    while not left_behind(remote):  # the first bytes are on the disk
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not (remote / "x.bin").exists()
    server.body, server.stall = CONTENT, False
    assert fetch().read_bytes() == CONTENT
    assert left_behind(remote) == ["x.bin"]


def test_a_damaged_cached_file_is_fetched_again(server, remote):
    fetch().write_bytes(b"rubbish")
    assert fetch().read_bytes() == CONTENT
    assert server.requests == 2
    fetch().write_bytes(b"rubbish")
    server.status = 404
    with pytest.raises(CourseError, match="404"):
        fetch()
    assert left_behind(remote) == []


def test_a_mistake_of_ours_is_not_hidden(server, remote, monkeypatch):
    def broken(*arguments):
        raise TypeError("a mistake")

    monkeypatch.setattr(datasets, "_download", broken)
    with pytest.raises(TypeError, match="a mistake"):
        fetch()


def test_three_processes_fetch_once(server, remote):
    server.delay = 0.3
    code = fetch_in_a_process(server)
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert server.requests == 1
    assert left_behind(remote) == ["x.bin"]


def test_the_mirror_comes_before_the_network(server, remote, tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "toy"
    folder.mkdir(parents=True)
    (folder / "x.bin").write_bytes(CONTENT)
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path / "mirror"))
    assert fetch() == folder / "x.bin"  # read in place
    assert server.requests == 0
    assert not remote.exists()


def test_a_damaged_mirror_is_named_not_bypassed(server, remote, tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "toy"
    folder.mkdir(parents=True)
    (folder / "x.bin").write_bytes(CONTENT[:-1])
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(CourseError, match="is damaged") as caught:
        fetch()
    assert str(folder / "x.bin") in str(caught.value)
    assert server.requests == 0
    assert (folder / "x.bin").exists()


def test_an_empty_mirror_is_no_obstacle(server, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path / "nothing"))
    assert fetch() == remote / "x.bin"


def test_another_edition_of_the_same_content_will_do(server, remote, monkeypatch):
    wanted = datasets.OPTIONAL["toy"]["x.bin"].sha256
    other = hashlib.sha256(b"other header, same content").hexdigest()
    file = RemoteFile(server.url, wanted, other)
    monkeypatch.setitem(datasets.OPTIONAL, "toy", {"x.bin": file})
    remote.mkdir(parents=True)
    (remote / "x.bin").write_bytes(b"other header, same content")
    assert fetch() == remote / "x.bin"
    assert server.requests == 0


# --- optional data: contents ---------------------------------------------------------------------


def test_every_optional_file_is_pinned():
    for files in datasets.OPTIONAL.values():
        for name, file in files.items():
            assert file.url.startswith(("https://", "http://"))
            assert file.url.endswith(f"/{name}")
            for digest in (file.sha256, file.also or "0" * 64):
                assert len(digest) == 64
                assert set(digest) <= set("0123456789abcdef")


@pytest.fixture
def with_mirror(mirror, tmp_path, monkeypatch):
    """The real optional files, and an empty cache."""
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(mirror))
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "_download", lambda *_: pytest.fail("asked the network"))
    return tmp_path / "cache"


@pytest.fixture
def without_mirror(tmp_path, monkeypatch):
    """Neither mirror nor cache, and a network that must not be asked."""
    monkeypatch.delenv("COURSE_DATA_MIRROR", raising=False)
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))


def test_available_without_mirror(without_mirror):
    assert not datasets.beijing_available()
    assert not datasets.cora_available()


def test_available_with_mirror(with_mirror, monkeypatch):
    assert datasets.beijing_available()
    assert datasets.beijing_available(15)
    assert datasets.cora_available()
    monkeypatch.delenv("COURSE_DATA_MIRROR")
    assert not datasets.beijing_available()


def test_available_asks_for_every_file_of_the_interval(without_mirror, tmp_path):
    folder = tmp_path / "cache" / "beijing_metro"
    folder.mkdir(parents=True)
    for name in ("adjacency.csv", "in_15min.csv", "out_15min.csv"):
        assert not datasets.beijing_available(15)
        (folder / name).write_text("")
    assert datasets.beijing_available(15)
    assert not datasets.beijing_available(30)
    assert not datasets.beijing_available()


@pytest.mark.parametrize(("interval", "steps"), [(10, 108), (15, 72), (30, 36)])
def test_beijing(with_mirror, mirror, interval, steps):
    metro = datasets.load_beijing_metro(interval)
    for way, flow in (("in", metro.inflow), ("out", metro.outflow)):
        lines = (mirror / "beijing_metro" / f"{way}_{interval}min.csv").read_text().splitlines()
        for row in (0, 275):
            assert flow[row].ravel().tolist() == [float(value) for value in lines[row].split(",")]
        assert flow.shape == (276, 25, steps)
        assert flow.dtype == np.float32
        assert flow.min() == 0
        assert np.array_equal(flow, flow.round())
    assert metro.interval == interval
    assert metro.adjacency.shape == (276, 276)
    assert np.array_equal(metro.adjacency, metro.adjacency.T)
    assert metro.adjacency.trace() == 0
    assert metro.adjacency.sum() == 2 * 315
    # days are axis 1: the same hour of two weekdays resembles, not two hours of one day
    network = metro.inflow.sum(0)
    assert np.corrcoef(network)[np.triu_indices(25, 1)].min() > 0.98


def test_beijing_has_three_intervals_only(without_mirror):
    with pytest.raises(CourseError, match="10, 15 or 30") as caught:
        datasets.load_beijing_metro(20)
    assert_one_sentence(str(caught.value))


def test_cora_is_the_planetoid_split(with_mirror):
    cora = datasets.load_cora()
    assert cora.features.shape == (2708, 1433)
    assert set(np.unique(cora.features)) == {0, 1}
    assert np.bincount(cora.labels).tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert len(cora.class_names) == 7
    assert cora.edges.shape == (2, 10556)
    pairs = set(zip(*cora.edges.tolist(), strict=True))
    assert len(pairs) == 10556
    assert all((b, a) in pairs and a != b for a, b in pairs)
    assert np.bincount(cora.labels[cora.train]).tolist() == [20] * 7
    parts = [set(part.tolist()) for part in (cora.train, cora.validation, cora.test)]
    assert [len(part) for part in parts] == [140, 500, 1000]
    assert len(set.union(*parts)) == 1640
    # papers cite papers of their own subject: rows and labels belong together, test rows too
    alike = cora.labels[cora.edges[0]] == cora.labels[cora.edges[1]]
    assert alike.mean() == pytest.approx(0.81, abs=0.005)
    in_test = np.isin(cora.edges[0], cora.test)
    assert alike[in_test].mean() > 0.78
    # words tell the subject, in the test rows too
    known = np.setdiff1d(np.arange(2708), cora.test)
    words = cora.features / cora.features.sum(1, keepdims=True)
    centres = np.stack([words[known][cora.labels[known] == k].mean(0) for k in range(7)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    guess = (words[cora.test] @ centres.T).argmax(1)
    assert (guess == cora.labels[cora.test]).mean() > 0.65


def test_a_damaged_pickle_is_never_opened(with_mirror, mirror, tmp_path, monkeypatch):
    """The checksum is looked at first: otherwise whoever swaps the file runs code here."""
    copy = tmp_path / "mirror"
    shutil.copytree(mirror / "planetoid", copy / "planetoid")
    harm = copy / "planetoid" / "ind.cora.graph"
    harm.chmod(0o644)
    harm.write_bytes(pickle.dumps({0: [1]}))
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(copy))
    with pytest.raises(CourseError, match=r"ind\.cora\.graph is damaged"):
        datasets.load_cora()


@pytest.mark.parametrize("function", [os.system, eval, Path, np.load])
def test_the_unpickler_refuses_foreign_names(function, tmp_path):
    import io

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        datasets._PlanetoidUnpickler(io.BytesIO(pickle.dumps(function))).load()


def test_missing_optional_data_say_what_to_do(server, remote, monkeypatch):
    """What a reader without network sees: for Cora and Beijing the very same sentence."""
    server.status = 404
    for name in ("beijing_metro", "cora"):
        files = {f: RemoteFile(server.url, r.sha256) for f, r in datasets.OPTIONAL[name].items()}
        monkeypatch.setitem(datasets.OPTIONAL, name, files)
    for load in (datasets.load_beijing_metro, datasets.load_cora):
        with pytest.raises(CourseError, match=r"run `make data-full`, or set COURSE_DATA_MIRROR"):
            load()


# --- command line --------------------------------------------------------------------------------


def test_check_prints_a_table(capsys):
    assert datasets.main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(BUNDLED)
    assert all(line.startswith("ok") for line in lines)


def test_check_goes_on_after_a_failure(copied_data, capsys):
    (copied_data / "mnist_5k.npz").write_bytes(b"")
    (copied_data / "adult.csv.gz").unlink()
    assert datasets.main(["check"]) == 1
    output = capsys.readouterr()
    assert output.out.count("FAILED") == 2
    assert output.out.count("ok ") == len(BUNDLED) - 2
    assert len(output.err.splitlines()) == 2


def test_fetch_says_where_the_files_are(with_mirror, mirror, capsys):
    assert datasets.main(["fetch", "cora", "beijing_metro"]) == 0
    output = capsys.readouterr().out
    assert "8 files verified" in output
    assert "7 files verified" in output
    assert str(mirror) in output


def test_fetch_goes_on_after_a_failure(server, remote, monkeypatch, capsys):
    broken = RemoteFile(server.url.replace("x.bin", "y.bin"), "0" * 64)
    everything = {"broken": {"y.bin": broken}, "toy": datasets.OPTIONAL["toy"]}
    monkeypatch.setattr(datasets, "OPTIONAL", everything)
    assert datasets.main(["fetch"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("error: y.bin")
    assert len(output.err.splitlines()) == 1
    assert "toy: 1 files verified" in output.out


def test_list_names_every_set(capsys, without_mirror):
    assert datasets.main(["list"]) == 0
    output = capsys.readouterr().out
    for name in (*datasets.BUNDLED, *datasets.OPTIONAL):
        assert name in output
    assert "not fetched" in output


@pytest.mark.parametrize(
    "arguments", [[], ["fetch", "imagenet"], ["fetch", "--all"], ["remove"], ["check", "mnist"]]
)
def test_misuse_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        datasets.main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_it_runs_as_a_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "utils.datasets", "check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
