"""Options of the sockets between frontends and replicas; both ends set them."""

import fcntl
import os
import socket
from typing import Protocol

UNIX_BUFFER_BYTES = 1 << 20
"""The default (208 KiB) holds about 26 rows of 784 doubles; the kernel may grant less (``net.core.wmem_max``)."""
KEEPALIVE_IDLE_S = 1
KEEPALIVE_INTERVAL_S = 1
KEEPALIVE_PROBES = 2
UNACKNOWLEDGED_MS = 3000
"""Data that the peer's kernel has not acknowledged for so long ends the connection."""
_LAST_STANDARD_FD = 2


class _Tunable(Protocol):
    @property
    def family(self) -> int: ...
    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...


def tune(sock: _Tunable) -> None:
    """Buffers for a batch in flight on a unix socket; on TCP no Nagle delay, and a dead host is seen within 3 s.

    The kernels exchange the keepalives: an idle process is not woken, and a busy or stopped one is not taken for dead.
    TCP buffers are left to the kernel, which sizes them itself as long as nobody sets them.
    """
    if sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNIX_BUFFER_BYTES)
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:  # each platform has its own subset
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def off_standard_streams(sock: socket.socket) -> socket.socket:
    """The socket, under another descriptor than 0, 1 or 2; what it leaves goes to nowhere.

    Where a model has closed its standard streams, the next connections get their numbers: what the model or a library
    prints would be sent to a peer.
    """
    if sock.fileno() > _LAST_STANDARD_FD:
        return sock
    moved = socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _LAST_STANDARD_FD + 1))
    standard_fd = sock.detach()
    null_fd = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_fd, standard_fd)
    if null_fd > _LAST_STANDARD_FD:
        os.close(null_fd)
    return moved
