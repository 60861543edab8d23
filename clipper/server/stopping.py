"""When a server should stop: a signal, a second signal, or the end of the process that started it."""

import asyncio
import os
import signal
import sys
from types import TracebackType
from typing import Self

FORCED_EXIT_CODE = 130


class StopSignal:
    """Set by SIGTERM or SIGINT, or by end of file on standard input (``until_eof``). A second signal exits at once."""

    def __init__(self, *, until_eof: bool) -> None:
        self._until_eof = until_eof
        self._asked = asyncio.Event()
        self.reason = ""

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        if self._until_eof:
            loop.add_reader(sys.stdin.fileno(), self._on_stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if self._until_eof:
            loop.remove_reader(sys.stdin.fileno())

    async def wait(self) -> None:
        """Until stopping is asked for."""
        await self._asked.wait()

    def _on_signal(self, number: int) -> None:
        if self._asked.is_set():
            # Replicas that are left end by themselves, or are adopted by the next server of this installation.
            os._exit(FORCED_EXIT_CODE)
        self._ask(signal.Signals(number).name)

    def _on_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._until_eof = False
            self._ask("the process that started this server ended")

    def _ask(self, reason: str) -> None:
        self.reason = reason
        self._asked.set()
