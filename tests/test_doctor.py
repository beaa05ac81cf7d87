"""The doctor finds what is wrong and says how to mend it."""

import shutil
import subprocess
import sys

import pytest

from utils import doctor


def sentences(*checks):
    return list(doctor.examine(checks))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("numpy==1.0\nno-such-package==1.0\n-e .\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    ((well, sentence),) = sentences(doctor.check_packages)
    assert not well
    assert "no-such-package" in sentence
    assert "make setup" in sentence


def test_another_version_is_said_but_is_no_problem(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("numpy==1.0\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    ((well, sentence),) = sentences(doctor.check_packages)
    assert well
    assert "numpy" in sentence


def test_a_torchvision_that_does_not_fit_is_recognised(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    ((well, sentence),) = sentences(doctor.check_torch)
    assert not well
    assert "CPU-only torch" in sentence


def test_a_card_that_torch_cannot_use_is_a_problem(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    ((well, sentence),) = sentences(doctor.check_devices)
    assert not well
    assert "update the driver" in sentence
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert sentences(doctor.check_devices)[0][0]


def test_another_clones_utils_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    ((well, sentence),) = sentences(doctor.check_repository)
    assert not well
    assert "make setup" in sentence


def test_a_full_disk_is_noticed(monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**8))
    ((well, sentence),) = sentences(doctor.check_disk)
    assert not well
    assert "0.1 GB" in sentence


def test_damaged_data_are_noticed(tmp_path, monkeypatch):
    from utils import datasets

    copy = tmp_path / "data"
    shutil.copytree(datasets.DATA_DIR, copy, ignore=shutil.ignore_patterns("cache"))
    (copy / "karate_club.csv").write_text("0,1\n")
    monkeypatch.setattr(datasets, "DATA_DIR", copy)
    datasets.forget_verified()
    ((well, sentence),) = sentences(doctor.check_data)
    datasets.forget_verified()
    assert not well
    assert "karate_club.csv" in sentence
    assert "git checkout" in sentence


def test_the_doctor_does_not_fall_ill_itself():
    def check_that_raises():
        raise ZeroDivisionError("oops")

    ((well, sentence),) = sentences(check_that_raises)
    assert not well
    assert "ZeroDivisionError" in sentence


@pytest.mark.parametrize("problem", [False, True])
def test_the_exit_status_tells(monkeypatch, capsys, problem):
    def check():
        if problem:
            raise doctor.Problem("Something is wrong: mend it.")
        return "fine"

    monkeypatch.setattr(doctor, "examine", lambda plain=doctor.examine: plain((check,)))
    assert doctor.main() == int(problem)
    assert ("PROBLEM" in capsys.readouterr().out) is problem


def test_it_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "utils.doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok  ") == len(doctor.CHECKS)
    assert "Everything is fine." in done.stdout
