"""Queries by gRPC: ``clipper.v1.Clipper/Predict``, a call each, all on one connection."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio

from clipper.loadgen.caller import OnDone
from clipper.loadgen.grpc_messages import CONNECT_TIMEOUT_S, SERVICE, QueryOf, failure, messages, outcome, unreachable
from clipper.loadgen.outcomes import INTERRUPTED, TIMED_OUT, Outcome


class _Waiting(NamedTuple):
    number: int
    due_s: float
    since_s: float


class GrpcCaller:
    """Asks queries, at most ``max_calls`` at a time."""

    def __init__(
        self,
        address: str,
        queries: QueryOf,
        max_calls: int,
        timeout_s: float,
        on_done: OnDone,
        on_waited: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A caller without a connection; see `clipper.loadgen.caller` for the callbacks."""
        self._address = address
        self._queries = queries
        self._max_calls = max_calls
        self._timeout_s = timeout_s
        self._on_done = on_done
        self._on_waited = on_waited
        self._clock = clock
        self._calls: dict[asyncio.Task[Outcome], float] = {}
        self._waiting: deque[_Waiting] = deque()
        self._channel = grpc.aio.insecure_channel(self._address)
        self._predict: Any = self._channel.unary_unary(
            f"{SERVICE}Predict", response_deserializer=messages.Prediction.FromString
        )

    @property
    def connections(self) -> int:
        """One for all calls."""
        return 1

    @property
    def under_way(self) -> int:
        """Queries that have no outcome yet."""
        return len(self._calls) + len(self._waiting)

    async def open(self) -> None:
        """Connect.

        Raises:
            Unreachable: There is no server.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._channel.channel_ready()
        except TimeoutError:
            await self._channel.close()
            raise unreachable(self._address) from None

    async def close(self) -> None:
        """Cancel what is under way, and disconnect."""
        waiting, self._waiting = self._waiting, deque()
        now_s = self._clock()
        for query in waiting:
            self._on_done(INTERRUPTED, now_s - query.due_s)
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._channel.close()

    def ask(self, index: int, due_s: float) -> None:
        """Call now, or when one of the calls under way has ended."""
        if len(self._calls) < self._max_calls:
            self._start(index, due_s)
        else:
            self._waiting.append(_Waiting(index, due_s, self._clock()))

    def _start(self, index: int, due_s: float) -> None:
        call = asyncio.ensure_future(self._outcome(index, due_s))
        self._calls[call] = due_s
        call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[Outcome]) -> None:
        due_s = self._calls.pop(call)
        self._on_done(INTERRUPTED if call.cancelled() else call.result(), self._clock() - due_s)
        if self._waiting:
            number, due_s, since_s = self._waiting.popleft()
            self._on_waited(self._clock() - since_s)
            self._start(number, due_s)

    async def _outcome(self, index: int, due_s: float) -> Outcome:
        left_s = due_s + self._timeout_s - self._clock()
        if left_s <= 0:
            return TIMED_OUT
        try:
            return outcome(await self._predict(self._queries(index).SerializeToString(), timeout=left_s))
        except grpc.RpcError as error:
            return failure(error)
