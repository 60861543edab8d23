"""The socket on which a replica listens."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from clipper_container.address import TcpAddress, UnixAddress

BACKLOG = 128


def listen(address: UnixAddress | TcpAddress) -> tuple[socket.socket, UnixAddress | TcpAddress]:
    """A listening socket and the address where it is reached (with the port that the kernel chose, if any).

    Raises:
        OSError: The address is in use or not one of this host's.
    """
    if isinstance(address, UnixAddress):
        return _listen_unix(address), address
    family, _, _, _, sockaddr = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    sock = socket.create_server(sockaddr[:2], family=family, backlog=BACKLOG)
    return sock, TcpAddress(address.host, sock.getsockname()[1])


def _listen_unix(address: UnixAddress) -> socket.socket:
    _remove_stale(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_umask = os.umask(0o177)  # only the owner may connect, from the first moment on
    try:
        sock.bind(address.path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old_umask)
    return sock


def _remove_stale(path: str) -> None:
    """Removes the socket of a process that is gone; one that answers stays, and binding then fails."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
        except OSError:
            return
