"""The life of one replica: listen, load, warm up, serve, drain, end."""

import gc
import math
import os
import signal
import threading
import time
from typing import cast

import numpy as np

from clipper_container import wire
from clipper_container.attendant import Attendant
from clipper_container.execution import Predict, execute
from clipper_container.flavors import LoadContext, Loaded, NotLoadable, find_flavor
from clipper_container.forks import ForkGuard
from clipper_container.layout import Layout
from clipper_container.listener import Listener
from clipper_container.load_failures import known_cause, sentence_of
from clipper_container.log import Level, Log
from clipper_container.manifest import Manifest, read_manifest, version_differences
from clipper_container.options import Options
from clipper_container.peers import Peers, ReceivedBatch
from clipper_container.sentences import describe, traceback_of
from clipper_container.version import __version__
from clipper_container.warmup import encode_example, warm_up
from clipper_container.wire import BatchView, Kind

EXIT_STOPPED = 0
"""Asked to stop, or nobody was there for the orphan timeout."""
EXIT_CANNOT_LISTEN = 3
EXIT_FAILED = 4
"""The model could not be loaded or warmed up, or what it needs has gone."""

DRAIN_TIMEOUT_S = 2.0
"""How long a draining replica waits for its peers' last word once everything is answered."""
FAILED_LINGER_S = 2.0
"""How long a replica that failed to load waits for somebody to tell."""
FAILURE_LOG_INTERVAL_S = 10.0
LOBBY_TURN_S = 1.0
_LONGEST_WAIT_S = 86_400.0


class Replica:
    """One replica. The thread that calls ``run`` (the main one, for signals) loads the model and later calls it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._log = Log(
            2,
            cast("Level", options.log_level),
            model=options.model,
            version=options.version,
            generation=options.generation,
            replica=options.replica_id,
            pid=os.getpid(),
        )
        self._broken: ValueError | None = None
        self._layout: Layout | None = None
        self._given_up: str | None = None
        self._running: BatchView | None = None
        self._failure_logged_s = -FAILURE_LOG_INTERVAL_S

    def run(self) -> int:
        """Serves until stopped; returns the exit code."""
        try:
            listener = Listener(self._options.listen)
        except OSError as error:
            self._log.event("error", "cannot_listen", message=f"cannot listen on {self._options.listen}: {error}")
            return EXIT_CANNOT_LISTEN
        try:
            manifest = self._manifest()
            self._layout = Layout(self._inputs_of(manifest)) if self._type_of(manifest) == "tensors" else None
        except ValueError as error:
            manifest, self._broken = Manifest(), error
        self._input_type = self._type_of(manifest)
        self._inputs = self._inputs_of(manifest)
        self._peers = Peers(
            listener,
            replica_id=self._options.replica_id,
            input_type=self._input_type,
            secret=self._options.secret,
            log=self._log,
            tls=self._options.tls,
        )
        self._obey_signals()
        self._forks = ForkGuard(self._peers.close_in_fork)
        self._log.event("info", "listening", address=str(listener.address))
        try:
            return self._live(manifest)
        finally:
            self._peers.close()

    def _manifest(self) -> Manifest:
        if self._options.artifact is None:
            return Manifest(flavor="noop")
        return read_manifest(self._options.artifact)

    def _type_of(self, manifest: Manifest) -> str:
        return self._options.input_type or manifest.input_type

    def _inputs_of(self, manifest: Manifest) -> list[wire.TensorSpec]:
        return self._options.inputs or manifest.inputs

    def _obey_signals(self) -> None:
        # The terminal's ctrl-C reaches the whole process group: the server decides what it means for its replicas.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._peers.request_stop())
        signal.set_wakeup_fd(self._peers.wake_fd, warn_on_full_buffer=False)

    def _live(self, manifest: Manifest) -> int:
        lobby = _Lobby(self._peers, self._log, self._options.orphan_timeout_s)
        lobby.start()
        try:
            predict = self._prepare(manifest)
        except BaseException as error:  # noqa: BLE001  # loading runs the model's code, which may raise anything
            lobby.let_it_leave()
            lobby.stop()
            return self._fail(error, manifest)
        lobby.stop()
        self._serve(predict)
        return EXIT_STOPPED if self._given_up is None else EXIT_FAILED

    def _prepare(self, manifest: Manifest) -> Predict:
        """Loads and warms up; the peers see each step, and from the end on they may send batches."""
        self._announce_soon(wire.control(Kind.STATE, wire.State("loading")))
        if self._broken is not None:
            raise self._broken
        flavor = self._options.flavor or manifest.flavor
        started_s = time.monotonic()
        loaded = self._load(flavor, manifest)
        self._log.event("info", "loaded", flavor=flavor, seconds=round(time.monotonic() - started_s, 3))
        if saved := "; ".join(map(str, version_differences(manifest))):
            self._log.event("warning", "versions_differ", message=f"The model was saved with {saved}.")
        hello = self._hello(flavor, loaded, self._warm_up(loaded, manifest))
        # What loading made stays for good: the collector need not look at it again in the middle of a batch.
        gc.collect()
        gc.freeze()
        self._peers.run_soon(lambda: self._open_doors(hello))
        return loaded.predict

    def _load(self, flavor: str, manifest: Manifest) -> Loaded:
        method = self._options.method or manifest.method
        context = LoadContext(
            self._options.artifact,
            manifest,
            self._input_type,
            method,
            self._options.threads,
            self._left_s,
            self._give_up,
            self._layout,
        )
        loaded = self._forks.wrap(find_flavor(flavor))(context)
        return loaded._replace(predict=self._forks.wrap(loaded.predict))

    def _left_s(self) -> float:
        """The time until nobody waits any more for the batch that runs; endless while none does."""
        if self._running is None:
            return math.inf
        return float(np.frombuffer(self._running.deadlines, "<f8").max()) - time.monotonic()

    def _give_up(self, reason: str) -> None:
        self._given_up = self._given_up or reason
        self._peers.request_stop()

    def _warm_up(self, loaded: Loaded, manifest: Manifest) -> list[tuple[int, float]]:
        if manifest.example_input is None:
            return []
        self._announce_soon(wire.control(Kind.STATE, wire.State("warming")))
        row = encode_example(self._input_type, manifest.example_input, self._layout)
        return warm_up(loaded.predict, self._input_type, row, time.monotonic, self._layout)

    def _hello(self, flavor: str, loaded: Loaded, warmup: list[tuple[int, float]]) -> wire.Hello:
        return wire.Hello(
            model=self._options.model,
            version=self._options.version,
            generation=self._options.generation,
            replica_id=self._options.replica_id,
            flavor=flavor,
            input_type=self._input_type,
            input_width=loaded.input_width,
            warmup=warmup,
            pid=os.getpid(),
            runtime_version=__version__,
            inputs=self._inputs,
        )

    def _announce_soon(self, data: bytes) -> None:
        self._peers.run_soon(lambda: self._peers.announce(data))

    def _open_doors(self, hello: wire.Hello) -> None:
        self._peers.refusal = None
        self._peers.announce(wire.control(Kind.READY, hello))
        self._log.event("info", "ready", input_width=hello.input_width, warmup=hello.warmup)

    def _fail(self, error: BaseException, manifest: Manifest) -> int:
        """Tells the peers why, in one sentence; the traceback is for the log, and for last words if it says more."""
        cause = known_cause(error, self._options, manifest)
        sentence = sentence_of(cause)
        if cause is error and not isinstance(error, NotLoadable):
            self._log.event("error", "failed", message=sentence, traceback=traceback_of(error))
        else:
            self._log.event("info", "raised", traceback=traceback_of(error))
            self._log.event("error", "failed", message=sentence)
        peers = self._peers
        peers.refusal = sentence
        peers.announce(wire.control(Kind.STATE, wire.State("failed", sentence)))
        until_s = time.monotonic() + FAILED_LINGER_S
        while not peers.stop_requested and (left_s := until_s - time.monotonic()) > 0:
            if peers.open_peers() and not any(peer.has_unsent for peer in peers.open_peers()):
                break
            peers.poll(left_s)
        return EXIT_FAILED

    def _serve(self, predict: Predict) -> None:
        peers = self._peers
        attendant = Attendant(peers)
        attendant.start()
        if peers.peerless_since_s is not None:
            peers.peerless_since_s = time.monotonic()  # nobody had to come while the model was loading
        while not peers.stop_requested:
            if peers.batches:
                self._execute(peers.batches.popleft(), predict, attendant)
                peers.poll(0)
            elif self._is_orphaned():
                self._log.event("info", "orphaned", message=f"no peer for {self._options.orphan_timeout_s:g} s")
                return
            else:
                peers.poll(self._idle_timeout_s())
        self._drain(predict, attendant)

    def _execute(self, batch: ReceivedBatch, predict: Predict, attendant: Attendant) -> None:
        started_s = time.monotonic()
        attendant.model_starts(started_s)
        self._running = batch.view
        reply, raised = _answer(batch, predict, started_s, self._layout)
        self._running = None
        attendant.model_returned()
        self._peers.answered(batch, reply)
        if raised is not None:
            self._log_failure(raised, batch.view.row_count)

    def _log_failure(self, error: BaseException, count: int) -> None:
        """With the traceback, for the model's author; seldom, because every batch may raise."""
        now_s = time.monotonic()
        if now_s - self._failure_logged_s >= FAILURE_LOG_INTERVAL_S:
            self._failure_logged_s = now_s
            text = traceback_of(error)
            self._log.event("error", "predict_raised", message=describe(error), rows=count, traceback=text)

    def _idle_timeout_s(self) -> float | None:
        since_s = self._peers.peerless_since_s
        if since_s is None or not self._options.orphan_timeout_s:
            return None
        left_s = since_s + self._options.orphan_timeout_s - time.monotonic()
        return min(max(0.0, left_s), _LONGEST_WAIT_S)

    def _is_orphaned(self) -> bool:
        return self._idle_timeout_s() == 0.0

    def _drain(self, predict: Predict, attendant: Attendant) -> None:
        """Executes what has arrived, refuses what comes after, and goes when every peer knows."""
        peers = self._peers
        peers.poll(0)
        self._log.event("info", "draining", batches=len(peers.batches))
        peers.refusal = "the replica is draining"
        peers.stop_listening()
        peers.announce(wire.frame(Kind.DRAINING))
        if self._given_up is not None:
            self._log.event("error", "failed", message=self._given_up)
            peers.announce(wire.control(Kind.STATE, wire.State("failed", self._given_up)))
        while peers.batches:
            self._execute(peers.batches.popleft(), predict, attendant)
            peers.poll(0)
        until_s = time.monotonic() + DRAIN_TIMEOUT_S
        while not peers.all_said_last and (left_s := until_s - time.monotonic()) > 0:
            peers.poll(left_s)
        self._log.event("info", "stopped")


def _answer(
    batch: ReceivedBatch, predict: Predict, started_s: float, layout: Layout | None = None
) -> tuple[bytes, BaseException | None]:
    """The REPLY, and what the model raised if it did."""
    wait_s, count = started_s - batch.received_s, batch.view.row_count
    try:
        done = execute(batch.view, predict, time.monotonic, layout)
        run_s = time.monotonic() - started_s
        return wire.encode_reply(batch.batch_id, count, done.lines, done.errors, wait_s, run_s), done.raised
    except MemoryError as error:
        no_memory = wire.ItemError("model_error", "there is no memory for the outputs of this batch")
        run_s = time.monotonic() - started_s
        return wire.encode_failure(batch.batch_id, count, no_memory, wait_s, run_s), error


class _Lobby:
    """Serves the peers from a thread of its own while the main thread loads the model."""

    def __init__(self, peers: Peers, log: Log, orphan_timeout_s: float) -> None:
        self._peers = peers
        self._log = log
        self._orphan_timeout_s = orphan_timeout_s
        self._alone_s = 0.0
        self._over = False
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="lobby", daemon=True)

    def start(self) -> None:
        """Starts to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; whoever calls this polls from now on."""
        self._peers.run_soon(self._end)
        self._thread.join()

    def let_it_leave(self) -> None:
        """Never returns where the process is about to end: what is closed for that is no failure of the model's."""
        if self._leaving:
            self._thread.join()

    def _end(self) -> None:
        self._over = True

    def _run(self) -> None:
        while not self._over:
            self._take_turn()
            if self._peers.refusal is None:
                continue
            if self._peers.stop_requested:
                self._leave("stopped", "while the model was loading")
            elif self._orphan_timeout_s and self._alone_s >= self._orphan_timeout_s:
                self._leave("orphaned", f"no peer for {self._orphan_timeout_s:g} s while the model was loading")

    def _take_turn(self) -> None:
        started_s = time.monotonic()
        self._peers.poll(LOBBY_TURN_S)
        # While loading holds the GIL nobody is let in: however long that takes, it counts as one turn.
        alone_s = self._alone_s + min(LOBBY_TURN_S, time.monotonic() - started_s)
        self._alone_s = alone_s if self._peers.peerless_since_s is not None else 0.0

    def _leave(self, event: str, sentence: str) -> None:
        """No batch was taken yet, and the main thread may be deep in a framework's C code for minutes, or for ever."""
        self._log.event("info", event, message=sentence)
        self._leaving = True
        self._peers.close()
        os._exit(EXIT_STOPPED)
