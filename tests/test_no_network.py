"""Without a network: there really is none, and the course does not miss it.

The chapters themselves run without a network in ``test_chapters.py``.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from no_network import GUARD, has_namespaces, without_network
from test_run import write_chapter

WAYS = [
    pytest.param(
        True,
        id="namespace",
        marks=pytest.mark.skipif(not has_namespaces(), reason="no network namespaces here"),
    ),
    pytest.param(False, id="guard"),
]

LEAVE = """
import socket, time
started = time.monotonic()
def attempt(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "went through"
def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("192.0.2.1", 53))
def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), timeout=5) as client:
            server.accept()[0].sendall(b"x")
            assert client.recv(1) == b"x"
found = {
    # an address that the standard sets aside for examples: RFC 5737
    "connect": attempt(lambda: socket.create_connection(("192.0.2.1", 80), timeout=20)),
    "connect, IPv6": attempt(lambda: socket.create_connection(("2001:db8::1", 80), timeout=20)),
    "datagram": attempt(datagram),
    "name": attempt(lambda: socket.getaddrinfo("example.org", 443)),
    "old name": attempt(lambda: socket.gethostbyname("example.org")),
    "localhost": attempt(lambda: socket.getaddrinfo("localhost", 80)),
    "loopback": attempt(loopback),
    "seconds": time.monotonic() - started,
}
"""
REFUSED = {"connect", "connect, IPv6", "datagram", "name", "old name"}


def assert_isolated(found: dict) -> None:
    """Nothing left the machine, at once, and the machine can be reached from itself."""
    assert found.pop("seconds") < 5
    assert {what for what, how in found.items() if how != "went through"} == REFUSED, found


def run(command: list[str], namespace: bool, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        without_network(command, namespace),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("namespace", WAYS)
def test_nothing_leaves_the_machine(namespace, tmp_path):
    program = LEAVE + "import json\nprint(json.dumps(found))"
    done = run([sys.executable, "-c", program], namespace, tmp_path)
    assert done.returncode == 0, done.stderr
    assert_isolated(json.loads(done.stdout))


@pytest.mark.parametrize("namespace", WAYS)
def test_the_command_stays_itself(namespace, tmp_path):
    """Arguments, standard input, exit status and process number are those of the command."""
    program = "import os, sys; print(os.getpid(), sys.argv[1:], input()); sys.exit(7)"
    with subprocess.Popen(
        without_network([sys.executable, "-c", program, "a b", "--net"], namespace),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        output, _ = process.communicate("line\n", timeout=60)
    assert process.returncode == 7
    number = output.split()[0] if sys.platform == "win32" else process.pid
    assert output == f"{number} ['a b', '--net'] line\n"


@pytest.mark.parametrize("namespace", WAYS)
def test_a_chapter_runs_and_its_kernel_is_cut_off_as_well(namespace, tmp_path):
    folder = tmp_path / "chapters"
    folder.mkdir()
    result = tmp_path / "found.json"
    write_chapter(
        folder, "01_one", LEAVE, f"import json\njson.dump(found, open({str(result)!r}, 'w'))"
    )
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(folder)]
    done = run([*command, "--build", str(tmp_path / "build")], namespace, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_isolated(json.loads(result.read_text()))


@pytest.mark.parametrize("namespace", WAYS)
def test_optional_data_that_cannot_be_had_are_one_sentence_each(namespace, tmp_path, monkeypatch):
    """``make data-full`` without a network, nor a mirror, nor a cache."""
    monkeypatch.setenv("COURSE_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_MIRROR", raising=False)
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    started = time.monotonic()
    done = run([sys.executable, "-m", "utils.datasets", "fetch"], namespace, tmp_path)
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert done.stdout == ""
    sentences = done.stderr.splitlines()
    assert len(sentences) == 4  # one for each optional set
    for sentence in sentences:
        assert sentence.startswith("error: ")
        assert "no connection to the server" in sentence
        assert "make data-full" in sentence
        assert "COURSE_DATA_MIRROR" in sentence
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name != ".lock"]


def test_the_guard_cannot_be_switched_off(tmp_path):
    """Another start-up folder on PYTHONPATH comes after it, and the path is kept."""
    (tmp_path / "sitecustomize.py").write_text("the_wrong_one = True")
    (tmp_path / "extra.py").write_text("")
    program = LEAVE + "import extra, json, sitecustomize\nprint(sitecustomize.__file__)\n"
    program += "print(json.dumps(found))"
    done = subprocess.run(
        without_network([sys.executable, "-c", program], namespace=False),
        env={"PYTHONPATH": str(tmp_path), "SYSTEMROOT": "", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file, found = done.stdout.splitlines()
    assert Path(file).parent == GUARD
    assert_isolated(json.loads(found))
