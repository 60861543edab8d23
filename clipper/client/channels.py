"""Calls to ``clipper.v1.Clipper``, blocking and awaited, and gRPC's failures as ours."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from clipper.client.gathering import gathered
from clipper.client.messages import AT_ONCE, bundles, prediction, reply_class, stream_request
from clipper.client.prediction import Prediction
from clipper.client.steps import Call, Called
from clipper.errors import ClipperError, TooLarge, Unreachable, from_json

_PATH = "/clipper.v1.Clipper/"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # A server that went without a word is noticed; one that is only idle keeps its connection.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Connections are not shared between channels: each Connection closes its own.
    ("grpc.use_local_subchannel_pool", 1),
]


class BlockingChannel:
    """One connection to one address, for any number of threads and calls at a time."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._methods = _Methods(self._channel)

    def close(self) -> None:
        """Cancel what is under way and disconnect."""
        self._channel.close()

    def call(self, step: Call) -> Called:
        """The reply to one call; a second attempt where the connection broke and a repeat does no harm."""
        method = self._methods.unary(step.method)
        end_s = time.monotonic() + self._timeout_s
        try:
            try:
                return Called(method(step.message, timeout=self._timeout_s))
            except grpc.RpcError as error:
                if not (step.repeatable and _broke(error)):
                    raise
            return Called(method(step.message, timeout=max(0.0, end_s - time.monotonic())), repeated=True)
        except grpc.RpcError as error:
            raise as_ours(error, self._address) from None

    def stream(self, app: str, xs: Iterable[Any], options: Mapping[str, Any]) -> Iterator[tuple[int, Prediction]]:
        """The answers as they come, each with the place of its input. Ending it early cancels the rest."""
        failures: list[BaseException] = []

        def requests() -> Iterator[Any]:
            first = 0
            try:
                for bundle in bundles(xs):
                    yield stream_request(app, bundle, first, options)
                    first += len(bundle)
            except BaseException as failure:
                failures.append(failure)
                raise

        call = self._methods.stream()(requests())
        try:
            for reply in call:
                for message in reply.predictions:
                    yield message.id, prediction(message)
        except grpc.RpcError as error:
            if failures and not isinstance(failures[0], GeneratorExit):
                raise failures[0] from None
            raise as_ours(error, self._address) from None
        finally:
            call.cancel()


class AsyncChannel:
    """`BlockingChannel` for programs with an event loop; of one loop."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._methods = _Methods(self._channel)

    async def close(self) -> None:
        """Cancel what is under way and disconnect."""
        await self._channel.close()

    async def call(self, step: Call) -> Called:
        """See `BlockingChannel.call`. Cancelling it cancels the query in the server."""
        method = self._methods.unary(step.method)
        end_s = time.monotonic() + self._timeout_s
        try:
            try:
                return Called(await method(step.message, timeout=self._timeout_s))
            except grpc.RpcError as error:
                if not (step.repeatable and _broke(error)):
                    raise
            return Called(await method(step.message, timeout=max(0.0, end_s - time.monotonic())), repeated=True)
        except grpc.RpcError as error:
            raise as_ours(error, self._address) from None

    async def stream(
        self, app: str, xs: Iterable[Any] | AsyncIterable[Any], options: Mapping[str, Any]
    ) -> AsyncGenerator[tuple[int, Prediction], None]:
        """See `BlockingChannel.stream`."""
        failures: list[BaseException] = []

        async def requests() -> AsyncIterator[Any]:
            first = 0
            try:
                async with aclosing(_bundles(xs)) as found:
                    async for bundle in found:
                        yield stream_request(app, bundle, first, options)
                        first += len(bundle)
            except BaseException as failure:
                failures.append(failure)
                raise

        call = self._methods.stream()(requests())
        try:
            async for reply in call:
                for message in reply.predictions:
                    yield message.id, prediction(message)
        except asyncio.CancelledError:
            # grpc.aio also ends a call like this whose requests have raised; that is no cancellation.
            if failures and isinstance(failures[0], Exception):
                raise failures[0] from None
            raise
        except grpc.RpcError as error:
            raise as_ours(error, self._address) from None
        finally:
            call.cancel()


class _Methods:
    """The service's methods on a channel, made once."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._made: dict[str, Any] = {}

    def unary(self, name: str) -> Any:
        method = self._made.get(name)
        if method is None:
            method = self._made[name] = self._channel.unary_unary(_PATH + name, **_codec(name))
        return method

    def stream(self) -> Any:
        return self._channel.stream_stream(f"{_PATH}PredictStream", **_codec("PredictStream"))


def _codec(method: str) -> dict[str, Any]:
    return {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": reply_class(method).FromString,
    }


async def _bundles(xs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if not isinstance(xs, AsyncIterable):
        for bundle in bundles(xs):
            yield bundle
        return
    async with aclosing(gathered(xs, AT_ONCE)) as found:
        async for bundle in found:
            yield bundle


def _broke(error: Any) -> bool:
    """Whether it was the connection that failed, and not the server that refused."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and not _own_words(error)


def _own_words(error: Any) -> dict[str, Any]:
    return {key: value for key, value in error.trailing_metadata() or () if key in {"clipper-code", "retry-after-ms"}}


def as_ours(error: Any, address: str) -> ClipperError:
    """The exception that a failed call stands for."""
    words = _own_words(error)
    if "clipper-code" in words:
        body = {"code": words["clipper-code"], "error": error.details()}
        if "retry-after-ms" in words:
            body["retry_after_ms"] = float(words["retry-after-ms"])
        return from_json(None, body)
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(f"Cannot reach {address} for gRPC: {error.details()}. Is the server up (clipper up)?")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreachable(f"{address} took the call and did not answer in time.")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge(f"{address} refused the message: {error.details()}.")
        case code:
            return ClipperError(f"The call to {address} failed with {code.name}: {error.details()}.")
