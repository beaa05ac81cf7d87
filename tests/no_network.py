"""Run a command where there is no network: ``without_network([...])`` is the command to start instead.

On Linux the command gets a network namespace of its own, with nothing but the loopback interface that
Jupyter needs to speak with its kernels. Where the machine does not allow that, a guard in every Python
process refuses what would leave the machine (``network_guard/sitecustomize.py``).
"""

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

GUARD = Path(__file__).resolve().parent / "network_guard"
_UNSHARE = ("unshare", "--map-root-user", "--net", "--")


@cache
def has_namespaces() -> bool:
    """Whether a network namespace with a working loopback interface can be made here."""
    if sys.platform != "linux":
        return False
    try:
        probe = _in_namespace([sys.executable, "-c", ""])
        done = subprocess.run(probe, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def without_network(command: Sequence[str], namespace: bool | None = None) -> list[str]:
    """Return a command that does what ``command`` does, without a network.

    It has the same exit status, output and, but for Windows, process number.

    Args:
        command: program and arguments.
        namespace: True for a namespace, False for the guard; by default the first that works here.
    """
    if has_namespaces() if namespace is None else namespace:
        return _in_namespace(command)
    return [sys.executable, __file__, "guard", *command]


def _in_namespace(command: Sequence[str]) -> list[str]:
    return [*_UNSHARE, sys.executable, __file__, "namespace", *command]


def _switch_loopback_on() -> None:
    """What ``ip link set lo up`` does; a new namespace has the interface, but switched off."""
    import fcntl
    import socket

    get_flags, set_flags, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        request = fcntl.ioctl(any_socket, get_flags, request)
        _, flags = struct.unpack("16sH14x", request)
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def _main(how: str, *command: str) -> int:
    """Become the command."""
    if how == "namespace":
        _switch_loopback_on()
    else:
        path = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{GUARD}{os.pathsep}{path}" if path else str(GUARD)
    if sys.platform == "win32":  # where exec starts a second process and forgets it
        return subprocess.run(command, check=False).returncode
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
