"""The socket on which a replica listens."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from clipper_container.address import TcpAddress, UnixAddress

BACKLOG = 128


class Listener:
    """A listening socket and the address where it is reached (with the port that the kernel chose, if any).

    Raises:
        OSError: The address is in use or not one of this host's.
    """

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self._inode: int | None = None
        if isinstance(address, UnixAddress):
            self.address: UnixAddress | TcpAddress = address
            self.sock = _listen_unix(address)
            self._inode = _inode(address.path)
        else:
            family, _, _, _, sockaddr = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            self.sock = socket.create_server(sockaddr[:2], family=family, backlog=BACKLOG)
            self.address = TcpAddress(address.host, self.sock.getsockname()[1])

    def close(self) -> None:
        """Closes it and removes its file, unless that has become another replica's."""
        if isinstance(self.address, UnixAddress) and self._inode is not None:
            if _inode(self.address.path) == self._inode:
                Path(self.address.path).unlink(missing_ok=True)
            self._inode = None
        self.sock.close()


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


def _inode(path: str) -> int | None:
    try:
        return Path(path).lstat().st_ino
    except OSError:
        return None


def _remove_stale(path: str) -> None:
    """Removes the socket of a process that is gone; one that answers stays, and binding then fails."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a busy replica's backlog may be full: it lives, and is not waited for
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
        except OSError:
            return
