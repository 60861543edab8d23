"""What gRPC costs: Clipper's unary calls and streams beside a bare grpc.aio servicer that does nothing.

``python benchmarks/grpc.py [--rounds 3] [--seconds 3] [--width 10]``. All of them in one run, by turns, with the same
client; distinct inputs, a model that does nothing. CPU is of the server's process alone.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

sys.path.pop(0)  # this folder has a grpc of its own: this file

import multiprocessing as mp

import grpc.aio
import numpy as np
import psutil
import uvloop

import clipper
from clipper.protocols import Messages

V1 = Messages("clipper.v1")
PATH = "/clipper.v1.Clipper/"
CALLERS = 64
AT_ONCE = 64
UNDER_WAY = 1024
Load = Callable[[str, float, np.ndarray[Any, Any]], Awaitable[float]]


def bare(pipe: Connection) -> None:
    """A server that parses the request and gives a reply that is always the same."""

    async def predict(request: Any, _context: Any) -> Any:
        return V1.Prediction(query_id=str(request.id), output=b"0.0")

    async def serve() -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            predict,
            request_deserializer=V1.PredictRequest.FromString,
            response_serializer=V1.Prediction.SerializeToString,
        )
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("clipper.v1.Clipper", {"Predict": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        pipe.send(f"127.0.0.1:{port}")
        await server.wait_for_termination()

    uvloop.run(serve())


async def unary(address: str, seconds: float, inputs: np.ndarray[Any, Any]) -> float:
    """Calls a second, one query each, of so many callers at a time."""
    count = 0
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"{PATH}Predict",
            request_serializer=V1.PredictRequest.SerializeToString,
            response_deserializer=V1.Prediction.FromString,
        )
        over_at_s = time.perf_counter() + seconds

        async def ask() -> None:
            nonlocal count
            while time.perf_counter() < over_at_s:
                count += 1
                await call(_query(inputs, count))

        started_s = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(CALLERS)))
        return count / (time.perf_counter() - started_s)


async def stream(address: str, seconds: float, inputs: np.ndarray[Any, Any], at_once: int = AT_ONCE) -> float:
    """Queries a second over one stream, so many to a message, so many under way."""
    asked = answered = 0
    room = asyncio.Semaphore(UNDER_WAY // at_once)
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"{PATH}PredictStream",
            request_serializer=V1.PredictStreamRequest.SerializeToString,
            response_deserializer=V1.PredictStreamReply.FromString,
        )()
        started_s = time.perf_counter()

        async def send() -> None:
            nonlocal asked
            while time.perf_counter() < started_s + seconds:
                await room.acquire()
                await call.write(
                    V1.PredictStreamRequest(queries=[_query(inputs, asked + i) for i in range(1, at_once + 1)])
                )
                asked += at_once
            await call.done_writing()

        sending = asyncio.create_task(send())
        async for reply in call:
            for _ in range((answered + len(reply.predictions)) // at_once - answered // at_once):
                room.release()
            answered += len(reply.predictions)
        await sending
        assert answered == asked
        return answered / (time.perf_counter() - started_s)


async def stream_of_single_queries(address: str, seconds: float, inputs: np.ndarray[Any, Any]) -> float:
    """`stream` of a client that has a message per query."""
    return await stream(address, seconds, inputs, 1)


def _query(inputs: np.ndarray[Any, Any], number: int) -> Any:
    """A query that nobody has asked before."""
    row = inputs[number % len(inputs)]
    row[0] = number + time.perf_counter()
    return V1.PredictRequest(application="noop", id=number, input=V1.Input(doubles=row.tobytes()))


def nothing(batch: Any) -> list[float]:
    return [0.0] * len(batch)


def compare(addresses: dict[str, tuple[str, int, Load]], rounds: int, seconds: float, width: int) -> None:
    """Print a line per load: median over the rounds."""
    rates: dict[str, list[float]] = {name: [] for name in addresses}
    cpu_us: dict[str, list[float]] = {name: [] for name in addresses}
    inputs = np.random.default_rng(0).random((256, width))
    for _ in range(rounds):
        for name, (address, pid, load) in addresses.items():
            before_s = _cpu_s(pid)
            started_s = time.perf_counter()
            rate = uvloop.run(load(address, seconds, inputs))
            rates[name].append(rate)
            cpu_us[name].append((_cpu_s(pid) - before_s) * 1e6 / (rate * (time.perf_counter() - started_s)))
    first, second = (statistics.median(rates[name]) for name in list(rates)[:2])
    for name, found in rates.items():
        rate = statistics.median(found)
        print(
            f"{name:28} {rate:9,.0f} queries/s  {statistics.median(cpu_us[name]):6.1f} us CPU of the server a query"
            f"  {rate / first:5.2f} x bare  {rate / second:5.2f} x unary"
        )


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--width", type=int, default=10, help="doubles of an input")
    options = parser.parse_args()
    ours, theirs = mp.get_context("spawn").Pipe()
    process = mp.get_context("spawn").Process(target=bare, args=(theirs,), daemon=True)
    process.start()
    try:
        with clipper.local() as cl:
            cl.deploy_model("noop", 1, nothing, input_type="doubles")
            cl.register_application("noop", input_type="doubles", slo_ms=1000, models=["noop"])
            address = cl.get_status()["grpc"]
            (pid,) = (p.pid for p in psutil.Process().children() if "clipper" in p.cmdline())
            loads: dict[str, tuple[str, int, Load]] = {
                "bare grpc.aio, unary": (ours.recv(), process.pid or 0, unary),
                "Predict": (address, pid, unary),
                "PredictStream": (address, pid, stream),
                "PredictStream, one a message": (address, pid, stream_of_single_queries),
            }
            compare(loads, options.rounds, options.seconds, options.width)
    finally:
        process.kill()


if __name__ == "__main__":
    main()
