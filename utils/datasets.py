"""Every data set of the course by name.

Bundled sets lie in ``data/`` and need no network; their checksums are verified before they are used.
Optional sets (the Beijing metro, Cora, and MNIST and Fashion-MNIST at full size) are looked for in
the folder that ``COURSE_DATA_MIRROR`` names, then in the cache ``data/cache/`` (or the folder that
``COURSE_DATA_CACHE`` names), then fetched once from their public homes; every file's SHA-256 is
pinned here and verified whenever it is opened. ``data/README.md`` is the data card.

Every loader returns fresh arrays or tables: change them as you like. Pictures and graphs come as
NumPy arrays, ``torch.from_numpy`` makes tensors of them.

On the command line: ``python -m utils.datasets list | check | fetch [NAME ...]``.
May import ``utils.runtime`` only.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import hashlib
import io
import os
import pickle
import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.runtime import CourseError

if TYPE_CHECKING:
    import pandas as pd

DATA_DIR = Path(__file__).resolve().parents[1] / "data"
"""Folder of the bundled files."""

# --- what a loader returns -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Images:
    """Grey-scale pictures of ten classes.

    Attributes:
        train_images: (n, 28, 28) uint8, 0 is background, 255 full ink.
        train_labels: (n,) int64, 0 to 9.
        test_images: (m, 28, 28) uint8.
        test_labels: (m,) int64.
        class_names: what the ten labels mean.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Adult:
    """Census income data in their official split.

    Attributes:
        train: 32,561 rows, 15 columns; the last one, ``income``, is ``<=50K`` or ``>50K``.
        test: 16,281 rows, the same columns.
    """

    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True, eq=False)
class GermanCredit:
    """1,000 loans; column ``label`` is 1 for a good and 2 for a bad one, as in the source.

    Attributes:
        raw: 20 attributes, seven integer and 13 coded (``A11``, ...), and the label.
        numeric: 24 integer attributes made from them, and the label.
    """

    raw: pd.DataFrame
    numeric: pd.DataFrame


@dataclass(frozen=True, eq=False)
class ChicagoL:
    """Daily entries at 20 stations of the Chicago 'L', 2001-01-08 to 2016-08-14.

    All tables have one row a day, 5,698 in all, none missing.

    Attributes:
        ridership: (5698, 20) int64, passengers who entered the station on that day.
        weather: (5698, 18) float64, observed on that day (degrees Fahrenheit, inches of mercury,
            miles an hour, inches; ``weather_*`` are shares of the day's hourly reports); NaN on
            the first 14 days.
        events: (5698, 10) float64, 1 where a team plays (``*_Home``, ``*_Away``), else 0; NaN on
            the first 14 days. The four baseball columns are alike in the source: 1 on every day on
            which either team plays anywhere.
        undelayed: (5698,) float64, Clark/Lake from a second column of the source that never was
            delayed: the proof that ``ridership`` stands at the right dates; NaN on the first 14.
    """

    ridership: pd.DataFrame
    weather: pd.DataFrame
    events: pd.DataFrame
    undelayed: pd.Series


@dataclass(frozen=True, eq=False)
class KarateClub:
    """34 members of a karate club that split in two.

    Attributes:
        adjacency: (34, 34) float32, 1 where two members met outside the club, symmetric.
        labels: (34,) int64, 0 for the side of the instructor (node 0), 1 for the officer's (33).
    """

    adjacency: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class ChicagoNetwork:
    """How the 20 stations of :class:`ChicagoL` lie on the lines of 2016.

    Attributes:
        stations: the 20 names, in the order of the columns of ``ChicagoL.ridership``.
        connections: 30 rows, columns ``line``, ``station``, ``neighbour``: two stations that follow
            each other on a line when all stations but the 20 are left out. Where lines share their
            tracks a pair comes once a line, in either direction: 23 pairs in all.
    """

    stations: tuple[str, ...]
    connections: pd.DataFrame


@dataclass(frozen=True, eq=False)
class BeijingMetro:
    """Passengers of the Beijing subway on 25 weekdays, 29 February to 1 April 2016, 5:00-23:00.

    Attributes:
        inflow: (276 stations, 25 days, steps) float32, passengers entering in the interval.
        outflow: the same for passengers leaving.
        adjacency: (276, 276) float32, 1 where two stations are neighbours, symmetric, no loops.
        interval: minutes a step: 10, 15 or 30, which makes 108, 72 or 36 steps a day.
    """

    inflow: np.ndarray
    outflow: np.ndarray
    adjacency: np.ndarray
    interval: int


@dataclass(frozen=True, eq=False)
class Cora:
    """2,708 papers on machine learning, the words they use, and who cites whom.

    Attributes:
        features: (2708, 1433) float32, 1 where the paper uses the word.
        labels: (2708,) int64, 0 to 6.
        edges: (2, 10556) int64, both directions of each citation, no loops, no doubles.
        train: (140,) int64, row numbers: 20 papers a class.
        validation: (500,) int64.
        test: (1000,) int64.
        class_names: what the seven labels mean.
    """

    features: np.ndarray
    labels: np.ndarray
    edges: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    class_names: tuple[str, ...]


DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CHICAGO_STATIONS = (
    "Austin",
    "Quincy_Wells",
    "Belmont",
    "Archer_35th",
    "Oak_Park",
    "Western",
    "Clark_Lake",
    "Clinton",
    "Merchandise_Mart",
    "Irving_Park",
    "Washington_Wells",
    "Harlem",
    "Monroe",
    "Polk",
    "Ashland",
    "Kedzie",
    "Addison",
    "Jefferson_Park",
    "Montrose",
    "California",
)
CORA_NAMES = (
    "Theory",
    "Reinforcement learning",
    "Genetic algorithms",
    "Neural networks",
    "Probabilistic methods",
    "Case-based",
    "Rule learning",
)

# --- bundled files -------------------------------------------------------------------------------

BUNDLED = {
    "mnist": ("mnist_5k.npz",),
    "fashion_mnist": ("fashion_mnist_12k.npz",),
    "adult": ("adult.csv.gz",),
    "german_credit": ("german_credit.csv", "german_credit_numeric.csv"),
    "chicago_l": ("chicago_l.csv.gz",),
    "karate_club": ("karate_club.csv",),
    "chicago_l_network": ("chicago_l_network.csv",),
}
"""Bundled sets and their files."""

_verified: set[Path] = set()


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bundled(name: str) -> Path:
    """Return the path of a bundled file, verified once in this process.

    Raises:
        CourseError: the file is missing, cannot be read or is not the committed one.
    """
    path = DATA_DIR / name
    if path in _verified:
        return path
    current = "SHA256SUMS"  # the file at hand, for the message
    try:
        lines = (DATA_DIR / current).read_text(encoding="utf-8").splitlines()
        sums = {file: digest for digest, file in (line.split() for line in lines)}
        current = name
        good = _sha256(path) == sums.get(name)
    except FileNotFoundError:
        raise CourseError(
            f"The bundled file data/{current} is missing: restore it with "
            f"`git checkout -- data/{current}`."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise CourseError(
            f"The bundled file data/{current} cannot be read ({reason}): restore it with "
            f"`git checkout -- data/{current}`."
        ) from None
    if not good:
        raise CourseError(
            f"The bundled file data/{name} is damaged (its SHA-256 is not the one in "
            f"data/SHA256SUMS): restore it with `git checkout -- data/{name}`."
        )
    _verified.add(path)
    return path


def verify_bundled() -> list[str]:
    """Verify every bundled file and return their names.

    Raises:
        CourseError: one is missing, cannot be read or is not the committed one.
    """
    names = [file for files in BUNDLED.values() for file in files]
    for name in names:
        _bundled(name)
    return names


def forget_verified() -> None:
    """Verify the bundled files again the next time they are used."""
    _verified.clear()


def load_mnist(full: bool = False) -> Images:
    """Load handwritten digits (LeCun, Cortes and Burges, 1998).

    Args:
        full: False gives the bundled 4,000 training and 1,000 test images, 400 and 100 a class in
            random order; True the complete set, 60,000 and 10,000, which is fetched when needed.

    Raises:
        CourseError: a file is missing, damaged or cannot be fetched.
    """
    if full:
        return _load_idx_images("mnist", DIGIT_NAMES)
    with np.load(_bundled("mnist_5k.npz")) as file:
        images, labels = file["images"], file["labels"].astype(np.int64)
    return Images(
        images[:4000].copy(),
        labels[:4000].copy(),
        images[4000:].copy(),
        labels[4000:].copy(),
        DIGIT_NAMES,
    )


def load_fashion_mnist(full: bool = False) -> Images:
    """Load pictures of clothes (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747).

    Args:
        full: False gives the bundled 10,000 training and 2,000 test images, 1,000 and 200 a class;
            True the complete set, 60,000 and 10,000, which is fetched when needed.

    Raises:
        CourseError: a file is missing, damaged or cannot be fetched.
    """
    if full:
        return _load_idx_images("fashion_mnist", FASHION_NAMES)
    with np.load(_bundled("fashion_mnist_12k.npz")) as file:
        return Images(
            file["train_images"],
            file["train_labels"].astype(np.int64),
            file["test_images"],
            file["test_labels"].astype(np.int64),
            FASHION_NAMES,
        )


def load_adult() -> Adult:
    """Load the Adult census income data (Becker and Kohavi, 1996, doi:10.24432/C5XW20).

    The tables are as UCI ships them, with two cells cleaned: ``?`` is NaN, and the full stop that
    ends the labels of UCI's test part is gone. Columns keep UCI's names (``hours-per-week``).

    Raises:
        CourseError: the file is missing or damaged.
    """
    import pandas as pd

    table = pd.read_csv(_bundled("adult.csv.gz"), na_values=["?"], keep_default_na=False)
    table["income"] = table["income"].str.removesuffix(".")
    parts = {
        name: part.drop(columns="split").reset_index(drop=True)
        for name, part in table.groupby("split")
    }
    return Adult(parts["train"], parts["test"])


def load_german_credit() -> GermanCredit:
    """Load the Statlog German credit data (Hofmann, 1994, doi:10.24432/C5NC77).

    ``raw`` holds the 20 attributes with UCI's codes, ``numeric`` the 24 integer attributes of UCI's
    second file, rebuilt from the first one; ``data/README.md`` explains codes and columns.

    Raises:
        CourseError: a file is missing or damaged.
    """
    import pandas as pd

    raw, numeric = (pd.read_csv(_bundled(name)) for name in BUNDLED["german_credit"])
    return GermanCredit(raw, numeric)


def load_chicago_l() -> ChicagoL:
    """Load the daily ridership of 20 Chicago 'L' stations with weather and home games.

    Source: City of Chicago and Chicago Transit Authority, through the data set ``Chicago`` of the
    R package modeldata; its stations are delayed by 14 days there, and put right here.

    Raises:
        CourseError: the file is missing or damaged.
    """
    import pandas as pd

    table = pd.read_csv(_bundled("chicago_l.csv.gz"), index_col="date", parse_dates=["date"])
    table = table.asfreq("D")
    first_weather, first_event = (table.columns.get_loc(c) for c in ("temp_min", "Blackhawks_Away"))
    undelayed = table["undelayed_Clark_Lake"].rename("Clark_Lake")
    return ChicagoL(
        ridership=table.iloc[:, : first_weather - 1].astype("int64"),
        weather=table.iloc[:, first_weather:first_event].copy(),
        events=table.iloc[:, first_event:].copy(),
        undelayed=undelayed.copy(),
    )


def load_karate_club() -> KarateClub:
    """Load Zachary's karate club (Zachary, 1977, doi:10.1086/jar.33.4.3629752), unweighted.

    Raises:
        CourseError: the file is missing or damaged.
    """
    lines = _bundled("karate_club.csv").read_text(encoding="utf-8").splitlines()[1:]
    adjacency = np.zeros((len(lines), len(lines)), dtype=np.float32)
    labels = np.zeros(len(lines), dtype=np.int64)
    for line in lines:
        node, faction, neighbours = line.split(",")
        labels[int(node)] = int(faction)
        adjacency[int(node), [int(other) for other in neighbours.split()]] = 1
    return KarateClub(adjacency, labels)


def load_chicago_network() -> ChicagoNetwork:
    """Load the neighbours among the 20 Chicago stations, by the line map of 2016.

    ``data/README.md`` tells which station each name means and what is ambiguous;
    ``utils.graphs.station_network`` makes an adjacency matrix of the table.

    Raises:
        CourseError: the file is missing or damaged.
    """
    import pandas as pd

    return ChicagoNetwork(CHICAGO_STATIONS, pd.read_csv(_bundled("chicago_l_network.csv")))


# --- optional files ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemoteFile:
    """One file of an optional set.

    Attributes:
        url: its public address.
        sha256: what the file there hashes to.
        also: what another edition with the same content hashes to: Debian's package
            ``dataset-fashion-mnist`` has the same pictures with other gzip headers.
    """

    url: str
    sha256: str
    also: str = ""


def _files(base: str, *rows: tuple[str, ...]) -> dict[str, RemoteFile]:
    """Return the files of one folder on the web, given (name, SHA-256, ...) of each."""
    return {name: RemoteFile(f"{base}/{name}", *sums) for name, *sums in rows}


_BEIJING = "https://raw.githubusercontent.com/JinleiZhangBJTU/ResNet-LSTM-GCN"

OPTIONAL: dict[str, dict[str, RemoteFile]] = {
    "beijing_metro": {
        **_files(
            f"{_BEIJING}/dea93f363bd01a9dbf5d57fb04025783a9bf753b",
            ("adjacency.csv", "4f91efa682c91c56994554745ca9c5c82142c48a54022bcc916be48e56dbc2ad"),
        ),
        **_files(
            f"{_BEIJING}/ccf835b6465ffc4b5c9219128b30f561efadecaa/data/inflowdata",
            ("in_10min.csv", "c984f568901ee369c1aca391f35e655016c2d3ecca21496d8297a2e01ea7ad78"),
            ("in_15min.csv", "f4dd5329fddb7bb6ccca823092d4b5672dfc434f4f682ec2c64970a0f795a3e8"),
            ("in_30min.csv", "cea8d316116ebe8e3912915a3877059a8656333f6103cb822312cdc23acd4d9f"),
        ),
        **_files(
            f"{_BEIJING}/eab75b8015d3518cd84be8bbbd08baaa74a201d3/data/outflowdata",
            ("out_10min.csv", "84013e9109a318040d52e5edf7353ba60ddd183e8919a26cba33099e6a9e78d2"),
            ("out_15min.csv", "601fdd9f314924e1cbb61d9456453f5b392059293467ad3a9da67b4f0cfcea50"),
            ("out_30min.csv", "a9a1d1f7d3daebf833523a66916d51db21f0a64788e2a965aea0ececeb681150"),
        ),
    },
    "cora": _files(
        "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data",
        ("ind.cora.x", "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab"),
        ("ind.cora.tx", "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a"),
        ("ind.cora.allx", "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543"),
        ("ind.cora.y", "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1"),
        ("ind.cora.ty", "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad"),
        ("ind.cora.ally", "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71"),
        ("ind.cora.graph", "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d"),
        ("ind.cora.test.index", "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875"),
    ),
    "mnist": _files(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        (
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion_mnist": _files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        ),
    ),
}
"""Optional sets: the file names of each, where they come from and what they must hash to."""

_MIRROR_FOLDERS = {"cora": "planetoid"}  # where a mirror's folder has another name than the set

BEIJING_INTERVALS = (10, 15, 30)


def _mirror_folder(name: str) -> Path | None:
    """Return the set's folder in the mirror; None when no mirror is named."""
    root = os.environ.get("COURSE_DATA_MIRROR")
    return Path(root).expanduser() / _MIRROR_FOLDERS.get(name, name) if root else None


def _cache_folder(name: str) -> Path:
    """Return the folder to which the set is downloaded."""
    root = os.environ.get("COURSE_DATA_CACHE")
    return (Path(root).expanduser() if root else DATA_DIR / "cache") / name


def _is_there(name: str, files: list[str]) -> bool:
    """Tell whether the files are in the mirror or the cache, without looking into them."""
    mirror, cache = _mirror_folder(name), _cache_folder(name)
    return all(
        (mirror is not None and (mirror / file).is_file()) or (cache / file).is_file()
        for file in files
    )


def _is_good(path: Path, remote: RemoteFile) -> bool:
    """Tell whether a file is what was pinned."""
    return _sha256(path) in (remote.sha256, remote.also)


def _optional(name: str, file: str) -> Path:
    """Return the verified path of one file of an optional set, downloading it when needed.

    Raises:
        CourseError: the mirror's file is damaged, or the file is nowhere and cannot be downloaded.
    """
    remote = OPTIONAL[name][file]
    mirror = _mirror_folder(name)
    if mirror is not None and (mirror / file).is_file():
        path = mirror / file
        try:
            good = _is_good(path, remote)
        except OSError as error:
            raise CourseError(
                f"The mirror's file {path} cannot be read ({error.strerror}): make it readable or "
                "unset COURSE_DATA_MIRROR."
            ) from None
        if not good:
            raise CourseError(
                f"The mirror's file {path} is damaged (wrong SHA-256): replace it or unset "
                "COURSE_DATA_MIRROR."
            )
        return path
    path = _cache_folder(name) / file
    try:
        if path.is_file() and _is_good(path, remote):
            return path
        _download(name, file, path)
    except Exception as error:
        if not _is_expected(error):
            raise
        raise CourseError(
            f"{file} of the optional data set {name} is not on this machine and cannot be "
            f"downloaded ({_reason(error)}): connect to the internet and run `make data-full`, or "
            f"set COURSE_DATA_MIRROR to a folder that holds "
            f"{_MIRROR_FOLDERS.get(name, name)}/{file}."
        ) from None
    return path


def _download(name: str, file: str, path: Path) -> None:
    """Download one file: whole, verified and under its final name, or not at all.

    A lock keeps two processes from fetching the same set at once: the second waits and finds the
    first one's file. A killed process leaves its unfinished file in ``.partial``, which the next
    download clears.

    Raises:
        OSError, ValueError: no network, an answer other than the file, no room, no permission.
    """
    import pooch
    from filelock import FileLock

    remote, folder = OPTIONAL[name][file], path.parent
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")
    with FileLock(folder / ".lock"):
        if path.is_file():
            if _is_good(path, remote):
                return  # another process was faster
            path.unlink()
        partial = folder / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            fetched = pooch.retrieve(
                remote.url,
                known_hash=f"sha256:{remote.sha256}",
                fname=file,
                path=partial,
                downloader=pooch.HTTPDownloader(
                    progressbar=sys.stderr.isatty(), timeout=(10, 60), chunk_size=2**16
                ),
            )
            Path(fetched).replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _is_expected(error: Exception) -> bool:
    """Tell a failed download from a mistake in this module."""
    import requests

    # pooch reports a wrong checksum as ValueError, urllib a redirect to what is no address
    return isinstance(error, (OSError, ValueError, requests.RequestException))


def _reason(error: Exception) -> str:
    """Return in a few words why a download failed."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code}"
    # the first that fits: each of requests' exceptions is an OSError too
    words = {
        exceptions.Timeout: "the server does not answer in time",
        exceptions.ChunkedEncodingError: "the connection broke off",
        exceptions.RequestException: "no connection to the server",
        ValueError: "what arrives is not the expected file",
        PermissionError: "the cache folder cannot be written; COURSE_DATA_CACHE names another",
    }
    known = next((text for kind, text in words.items() if isinstance(error, kind)), None)
    numbers = {
        errno.ENOSPC: "the disk is full",
        errno.EROFS: words[PermissionError],
    }
    number = getattr(error, "errno", None)
    return known or numbers.get(number) or getattr(error, "strerror", None) or str(error)


def _load_idx_images(name: str, class_names: tuple[str, ...]) -> Images:
    """Load a complete image set from its four gzipped IDX files."""
    arrays = []
    for file in OPTIONAL[name]:
        raw = gzip.decompress(_optional(name, file).read_bytes())
        dimensions = raw[3]  # the fourth byte counts them, then four bytes for each
        shape = np.frombuffer(raw, ">i4", dimensions, offset=4)
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
        arrays.append(values.copy() if dimensions == 3 else values.astype(np.int64))
    return Images(*arrays, class_names)


def beijing_available(interval: int | None = None) -> bool:
    """Tell whether the Beijing metro data are in the mirror or the cache.

    Never touches the network.

    Args:
        interval: 10, 15 or 30 asks for that interval only; None for all three.
    """
    intervals = BEIJING_INTERVALS if interval is None else (interval,)
    flows = [f"{way}_{minutes}min.csv" for minutes in intervals for way in ("in", "out")]
    return _is_there("beijing_metro", ["adjacency.csv", *flows])


def load_beijing_metro(interval: int = 15) -> BeijingMetro:
    """Load the Beijing metro data (Zhang, Chen, Cui, Guo and Zhu, 2021, arXiv:1912.12563).

    Optional data: from ``COURSE_DATA_MIRROR``, the cache or the network.

    Args:
        interval: minutes a step: 10, 15 or 30.

    Raises:
        CourseError: the interval is another, or the files are nowhere to be had.
    """
    if interval not in BEIJING_INTERVALS:
        raise CourseError(f"There are no Beijing metro data by {interval} minutes: 10, 15 or 30.")

    def read(file: str) -> np.ndarray:
        path = _optional("beijing_metro", file)
        return np.loadtxt(path, delimiter=",", dtype=np.float32)

    # a row is one station, its columns are 25 days one after the other
    inflow, outflow = (read(f"{way}_{interval}min.csv") for way in ("in", "out"))
    return BeijingMetro(
        inflow.reshape(276, 25, -1),
        outflow.reshape(276, 25, -1),
        read("adjacency.csv"),
        interval,
    )


class _SparseRows:
    """What a pickled SciPy CSR matrix holds, without SciPy."""

    def dense(self) -> np.ndarray:
        """Return the matrix as a float32 array."""
        state = self.__dict__
        matrix = np.zeros(state.get("_shape", state.get("shape")), dtype=np.float32)
        rows = np.repeat(np.arange(len(matrix)), np.diff(state["indptr"]))
        matrix[rows, state["indices"]] = state["data"]
        return matrix


class _PlanetoidUnpickler(pickle.Unpickler):
    """Unpickle arrays, sparse matrices and a dictionary of lists; refuse everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object behind a name that the Planetoid files may use."""
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
            ("collections", "defaultdict"): defaultdict,
            ("__builtin__", "list"): list,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here")
        return allowed[module, name]


def cora_available() -> bool:
    """Tell whether the Cora files are in the mirror or the cache; never touches the network."""
    return _is_there("cora", list(OPTIONAL["cora"]))


def load_cora() -> Cora:
    """Load Cora in the Planetoid split (Sen et al., 2008; Yang, Cohen and Salakhutdinov, 2016).

    Optional data: from ``COURSE_DATA_MIRROR``, the cache or the network.

    Raises:
        CourseError: the files are nowhere to be had.
    """

    def read(part: str) -> Any:
        # the checksum is verified before a byte is unpickled; latin1: Python 2 wrote the files
        content = _optional("cora", f"ind.cora.{part}").read_bytes()
        return _PlanetoidUnpickler(io.BytesIO(content), encoding="latin1").load()

    test = np.loadtxt(_optional("cora", "ind.cora.test.index"), dtype=np.int64)
    order = np.argsort(test)  # the test papers are stored in the shuffled order of that file
    features = np.concatenate([read("allx").dense(), read("tx").dense()[order]])
    one_hot = np.concatenate([read("ally"), read("ty")[order]])
    graph = read("graph")
    pairs = {(a, b) for a, others in graph.items() for b in others if a != b}
    edges = np.array(sorted(pairs | {(b, a) for a, b in pairs}), dtype=np.int64).T.copy()
    train = len(read("y"))
    return Cora(
        features,
        one_hot.argmax(axis=1).astype(np.int64),
        edges,
        np.arange(train),
        np.arange(train, train + 500),
        np.sort(test),
        CORA_NAMES,
    )


# --- command line --------------------------------------------------------------------------------


def _list() -> int:
    """Print what there is."""
    print(f"{'bundled':<16}files")
    for name, files in BUNDLED.items():
        print(f"{name:<16}{', '.join(files)}")
    print(f"\n{'optional':<16}state")
    for name, files in OPTIONAL.items():
        there = _is_there(name, list(files))
        print(f"{name:<16}{'on this machine' if there else 'not fetched'}, {len(files)} files")
    return 0


def _check() -> int:
    """Verify every bundled file and print one line for each; 1 when one is not as committed."""
    failures = []
    forget_verified()
    for file in (file for files in BUNDLED.values() for file in files):
        try:
            size = _bundled(file).stat().st_size
            print(f"ok      {size:>10,} bytes  data/{file}")
        except CourseError as error:
            print(f"FAILED  {'':>16}  data/{file}")
            failures.append(error)
    for error in failures:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failures else 0


def _fetch(names: list[str]) -> int:
    """Make the named optional sets available; 1 when one cannot be had."""
    failed = False
    for name in names:
        try:
            folders = {_optional(name, file).parent for file in OPTIONAL[name]}
            print(f"{name}: {len(OPTIONAL[name])} files verified in {', '.join(map(str, folders))}")
        except CourseError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when all is well, 1 when data are missing, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.datasets", description="The data sets of the course."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the data sets and which optional ones are here")
    commands.add_parser("check", help="verify the bundled files")
    fetch = commands.add_parser("fetch", help="fetch optional data sets")
    fetch.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(OPTIONAL)}; all of them when none is named",
    )
    options = parser.parse_args(arguments)
    if options.command != "fetch":
        return {"list": _list, "check": _check}[options.command]()
    unknown = [name for name in options.names if name not in OPTIONAL]
    if unknown:
        parser.error(f"there is no optional data set {unknown[0]!r}: {', '.join(OPTIONAL)}")
    try:
        return _fetch(options.names or list(OPTIONAL))
    except KeyboardInterrupt:
        print("error: interrupted; no unfinished file was kept, run it again.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
