"""Refuse every connection that would leave this machine; Python imports this module when it starts.

The folder is put on PYTHONPATH by :mod:`no_network` where there are no network namespaces, so that the
kernels are guarded as well. An audit hook cannot be taken away again, and it sees every socket of
Python; what a library does in C with sockets of its own, or a program that is no Python, it does not see.
"""

import errno
import ipaddress
import socket
import sys


def _stays_here(host: object) -> bool:
    """Whether a host of a socket address is this machine."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]  # text or bytes for sockets that are files; None when connected
        if isinstance(address, tuple) and not _stays_here(address[0]):
            raise OSError(errno.ENETUNREACH, "Network is unreachable (guarded)")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not _stays_here(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (guarded)")


sys.addaudithook(_guard)
