"""Tells when something happened to the containers: a hint to look, never the news itself, so none can be missed."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from clipper.control.docker import labels
from clipper.control.docker.engine import Engine, EngineRefused, asking

RETRY_S = 0.5
_EVENTS = ["die", "destroy", "pause"]

_log = logging.getLogger(__name__)


class Watcher:
    """Listens to the engine's events in a thread of its own.

    Args:
        engine: Which one.
        installation_id: Whose containers.
        on_event: Called in the thread when something happened.
        on_silence: Called in the thread when the engine went away; ``on_event`` follows when it is back.
    """

    def __init__(
        self, engine: Engine, installation_id: str, on_event: Callable[[], None], on_silence: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._filters = {**labels.own(installation_id), "type": ["container"], "event": _EVENTS}
        self._on_event = on_event
        self._on_silence = on_silence
        self._closed = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)

    def start(self) -> None:
        """Listen until `close`."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; blocks until it has ended, or for a moment if the engine hangs."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join(timeout=2 * RETRY_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
                reason = "it closed the connection"
            except EngineRefused as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001  # closing the stream ends the SDK's reading with whatever it likes
                reason = str(error)
            if self._closed.is_set():
                return
            self._on_silence(reason)
            self._closed.wait(RETRY_S)

    def _listen(self) -> None:
        self._stream = asking(self._engine.client.api.events, filters=self._filters, decode=True)
        # What happened before we listened was not heard.
        self._on_event()
        while not self._closed.is_set():
            if asking(next, self._stream, None) is None:
                return
            self._on_event()
