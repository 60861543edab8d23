"""Processes that the model forks: they get nothing of the replica's."""

import functools
import os
import signal
from collections.abc import Callable
from typing import ParamSpec, TypeVar

EXIT_STRAYED = 70
"""A forked process came back out of the model's code."""

P = ParamSpec("P")
T = TypeVar("T")


class ForkGuard:
    """Keeps what a model forks (``multiprocessing``, ``os.fork``) away from the replica's peers and signals.

    A forked process that kept the sockets would hide from the peers that the replica was killed. One that kept the
    signals would not end on SIGTERM, and would tell the replica to stop instead, over the shared wake-up descriptor.
    """

    def __init__(self, close_sockets: Callable[[], None]) -> None:
        self._close_sockets = close_sockets
        self._in_child = False
        # Blocked around the fork: a SIGTERM may come before the new process has laid down its part in the replica.
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=self._forked)

    def wrap(self, function: Callable[P, T]) -> Callable[P, T]:
        """The model's function; a process that was forked inside of it ends where it would return or raise."""

        @functools.wraps(function, updated=())
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            finally:
                if self._in_child:
                    os._exit(EXIT_STRAYED)

        return guarded

    def _forked(self) -> None:
        self._in_child = True
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._close_sockets()
        _unblock()


def _block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
