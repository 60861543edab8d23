"""Queries over one stream of ``clipper.v1.Clipper/PredictStream``, their answers told apart by id."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio

from clipper.loadgen.caller import OnDone
from clipper.loadgen.grpc_messages import CONNECT_TIMEOUT_S, SERVICE, QueryOf, failure, messages, outcome, unreachable
from clipper.loadgen.outcomes import CLOSED, INTERRUPTED, TIMED_OUT, Outcome

_PAUSE_AFTER_FAILURE_S = 0.05
_SWEEP_S = 0.1


class _Waiting(NamedTuple):
    number: int
    due_s: float
    since_s: float


class GrpcStreamCaller:
    """Asks queries, at most ``max_queries`` at a time. Those that are due while a message is sent go in the next one.

    When the stream breaks, what is under way is lost, and a new one is opened.
    """

    def __init__(
        self,
        address: str,
        queries: QueryOf,
        max_queries: int,
        timeout_s: float,
        on_done: OnDone,
        on_waited: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A caller without a connection; see `clipper.loadgen.caller` for the callbacks."""
        self._address = address
        self._queries = queries
        self._max_queries = max_queries
        self._timeout_s = timeout_s
        self._on_done = on_done
        self._on_waited = on_waited
        self._clock = clock
        self._due_s: dict[int, float] = {}
        self._waiting: deque[_Waiting] = deque()
        self._to_send: list[Any] = []
        self._some_to_send = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._channel = grpc.aio.insecure_channel(address)
        self._stream: Any = self._channel.stream_stream(
            f"{SERVICE}PredictStream", response_deserializer=messages.PredictStreamReply.FromString
        )

    @property
    def connections(self) -> int:
        """One for the stream."""
        return 1

    @property
    def under_way(self) -> int:
        """Queries that have no outcome yet."""
        return len(self._due_s) + len(self._waiting)

    async def open(self) -> None:
        """Connect, and begin the stream.

        Raises:
            Unreachable: There is no server.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._channel.channel_ready()
        except TimeoutError:
            await self._channel.close()
            raise unreachable(self._address) from None
        self._tasks = [asyncio.ensure_future(self._converse()), asyncio.ensure_future(self._sweep())]

    async def close(self) -> None:
        """End the stream and disconnect; what is under way is lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        waiting, self._waiting = self._waiting, deque()
        self._lose_all(INTERRUPTED)
        now_s = self._clock()
        for query in waiting:
            self._on_done(INTERRUPTED, now_s - query.due_s)
        await self._channel.close()

    def ask(self, index: int, due_s: float) -> None:
        """Send query ``index`` with the next message, or when one of those under way has ended."""
        if len(self._due_s) < self._max_queries:
            self._send(index, due_s)
        else:
            self._waiting.append(_Waiting(index, due_s, self._clock()))

    def _send(self, index: int, due_s: float) -> None:
        self._due_s[index] = due_s
        self._to_send.append(self._queries(index))
        self._some_to_send.set()

    async def _converse(self) -> None:
        """One stream after the other."""
        while True:
            call = self._stream()
            writing = asyncio.ensure_future(self._write(call))
            broken = CLOSED
            try:
                async for reply in call:
                    for prediction in reply.predictions:
                        self._end(prediction.id, outcome(prediction))
            except grpc.RpcError as error:
                broken = failure(error)
            finally:
                writing.cancel()
                call.cancel()
            self._lose_all(broken)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def _write(self, call: Any) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the reader is told why the stream broke
            while True:
                await self._some_to_send.wait()
                self._some_to_send.clear()
                queries, self._to_send = self._to_send, []
                if queries:
                    await call.write(messages.PredictStreamRequest(queries=queries).SerializeToString())

    def _end(self, index: int, result: Outcome) -> None:
        due_s = self._due_s.pop(index, None)
        if due_s is None:  # its caller had given up
            return
        self._on_done(result, self._clock() - due_s)
        if self._waiting:
            number, due_s, since_s = self._waiting.popleft()
            self._on_waited(self._clock() - since_s)
            self._send(number, due_s)

    def _lose_all(self, result: Outcome) -> None:
        lost, self._due_s, self._to_send = self._due_s, {}, []
        now_s = self._clock()
        for due_s in lost.values():
            self._on_done(result, now_s - due_s)
        while self._waiting and len(self._due_s) < self._max_queries:
            number, due_s, since_s = self._waiting.popleft()
            self._on_waited(now_s - since_s)
            self._send(number, due_s)

    async def _sweep(self) -> None:
        """Give up on queries whose caller would not wait any longer."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            oldest_s = self._clock() - self._timeout_s
            while self._waiting and self._waiting[0].due_s < oldest_s:
                self._on_done(TIMED_OUT, self._clock() - self._waiting.popleft().due_s)
            for index in [index for index, due_s in self._due_s.items() if due_s < oldest_s]:
                self._end(index, TIMED_OUT)
