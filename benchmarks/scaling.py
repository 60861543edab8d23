"""Replicas scale throughput, and a version in a range follows its load. The model sleeps: a GPU's stand-in.

First: 1, 2, 3 and 4 replicas, as many queries under way as keep all of them busy. Then: a range of 1 to 4 under a load
that goes up and down again, once a second what is offered, answered and running. Replicas are processes behind
`clipper up`; a sleeping model leaves the processor to them. Run: `python benchmarks/scaling.py [--seconds S]`, where S
is how long each number of replicas is measured; with less than the default nothing is saved. The picture needs the
extra ``plot``.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from picture import panels, save_picture
from rich.console import Console
from servers import Up, clipper_up
from table import console, grid, provenance, save

BATCH = 8
SLEEP_S = 0.04
PER_REPLICA_QPS = BATCH / SLEEP_S
COUNTS = (1, 2, 3, 4)
AT_LEAST = 3.6
"""Times the throughput of one replica that four are to have."""
CALLERS = 128
APPLICATION = "asleep"


class Shape(NamedTuple):
    """How long each part takes, in seconds. At the end it has to become calm, and to be so for 15 s."""

    steady_s: float
    low_s: float
    high_s: float
    end_s: float

    @classmethod
    def of(cls, seconds: float) -> "Shape":
        """With so long for each number of replicas."""
        return cls(seconds, seconds, max(6.0, 2.5 * seconds), 25.0 + seconds)


FULL_S = 10.0
LOW_QPS, HIGH_QPS = 0.4 * PER_REPLICA_QPS, 2.6 * PER_REPLICA_QPS


def sleeps(batch: Any) -> Any:
    """As long for one row as for a full batch."""
    import time  # noqa: PLC0415  # travels with the function

    time.sleep(0.04)
    return batch.sum(axis=1)


class Caller:
    """One connection, one query under way, every input another one. Counts answers by status; checks each output."""

    numbers = itertools.count(1)

    def __init__(self, query_url: str) -> None:
        self._address = urlsplit(query_url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str:
        """``right``, ``wrong``, or the status of a refusal."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
        reader, writer = self._streams
        number = next(self.numbers)
        body = b'{"input":[%d]}' % number
        writer.write(
            b"POST /%s/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (APPLICATION.encode(), len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        answer = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        if not head.startswith(b"http/1.1 200"):
            return head[9:12].decode()
        return "right" if b'"output":%d.0,' % number in answer else "wrong"

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


async def steady(up: Up, seconds: float) -> tuple[float, Counter[str]]:
    """Answers a second, with `CALLERS` queries under way all the time."""
    callers, outcomes = [Caller(up.query_url) for _ in range(CALLERS)], Counter[str]()
    began_s = time.monotonic()

    async def keep_asking(caller: Caller) -> None:
        while time.monotonic() < began_s + seconds:
            outcomes[await caller.ask()] += 1

    await asyncio.gather(*map(keep_asking, callers))
    elapsed_s = time.monotonic() - began_s
    for caller in callers:
        caller.close()
    return outcomes["right"] / elapsed_s, outcomes


class Second(NamedTuple):
    """One second of the load that goes up and down."""

    offered_qps: float
    answered: int
    refused: int
    wanted: int
    ready: int
    why: str | None


async def follow(up: Up, rates: Sequence[float]) -> list[Second]:
    """Offer so many queries in each second, evenly, whatever becomes of them."""
    idle: list[Caller] = []
    outcomes: Counter[str] = Counter()
    under_way: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        caller = idle.pop() if idle else Caller(up.query_url)
        outcomes[await caller.ask()] += 1
        idle.append(caller)

    seconds: list[Second] = []
    began_s = time.monotonic()
    for number, rate in enumerate(rates):
        before = Counter(outcomes)
        for i in range(round(rate)):
            await asyncio.sleep(max(0.0, began_s + number + i / rate - time.monotonic()))
            task = asyncio.create_task(ask())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(max(0.0, began_s + number + 1 - time.monotonic()))
        info = await asyncio.to_thread(up.connection.get_model_info, "sleeper", 1)
        new, count = outcomes - before, info["replicas"]
        refused = sum(new.values()) - new["right"]
        seconds.append(Second(rate, new["right"], refused, count["wanted"], count["ready"], count["why"]))
    await asyncio.gather(*under_way)
    for caller in idle:
        caller.close()
    assert not outcomes["wrong"], outcomes
    return seconds


def measure(shape: Shape) -> tuple[dict[int, float], list[Second]]:
    """Answers a second by number of replicas, and the seconds of the load that goes up and down."""
    with clipper_up() as up:
        cl = up.connection
        cl.deploy_model(
            "sleeper", 1, sleeps, input_type="doubles", batching=f"fixed:{BATCH}", caching={"enabled": False}
        )
        cl.register_application(APPLICATION, input_type="doubles", slo_ms=2000, models=["sleeper"])
        qps: dict[int, float] = {}
        for count in COUNTS:
            _scale(up, count, count)
            qps[count], outcomes = asyncio.run(steady(up, shape.steady_s))
            assert set(outcomes) == {"right"}, outcomes
        _scale(up, {"min": 1, "max": 4}, 1)
        rates = [LOW_QPS] * round(shape.low_s) + [HIGH_QPS] * round(shape.high_s) + [LOW_QPS] * round(shape.end_s)
        return qps, asyncio.run(follow(up, rates))


def _scale(up: Up, replicas: int | dict[str, int], ready: int) -> None:
    """Ask for so many, and wait until just so many are there. A range begins with what it needs: nothing, by then."""
    if isinstance(replicas, dict):
        up.connection.set_num_replicas("sleeper", 1)
    else:
        up.connection.set_num_replicas("sleeper", replicas)
    while sum(replica["model"] == "sleeper" for replica in up.connection.get_all_model_replicas()) != ready or (
        up.connection.get_model_info("sleeper", 1)["replicas"]["ready"] != ready
    ):
        time.sleep(0.1)
    if isinstance(replicas, dict):
        time.sleep(11)  # until the load of before is out of every window of measurement
        up.connection.set_num_replicas("sleeper", replicas)


def report(qps: dict[int, float], seconds: Sequence[Second]) -> dict[str, Any]:
    """The figures, as they are saved."""
    return {
        **provenance(),
        "model": f"sleeps {SLEEP_S * 1e3:g} ms for a batch of up to {BATCH}",
        "qps_by_replicas": {str(count): round(value, 1) for count, value in qps.items()},
        "times_one_replica": round(qps[4] / qps[1], 2),
        "refused": sum(second.refused for second in seconds),
        "answered": sum(second.answered for second in seconds),
        "seconds": [second._asdict() for second in seconds],
    }


def show(out: Console, results: Mapping[str, Any]) -> None:
    """The table, and why it scaled."""
    out.print(f"{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    qps = {int(count): value for count, value in results["qps_by_replicas"].items()}
    rows = [[str(count), f"{value:,.0f}", f"{value / qps[1]:.2f}"] for count, value in qps.items()]
    out.print(grid(f"A model that {results['model']}", ["replicas", "queries/s", "times one"], rows))
    for why in dict.fromkeys(second["why"] for second in results["seconds"] if second["why"]):
        out.print(f"scaled {why}")
    out.print(f"{results['answered']} answered, {results['refused']} not, while it scaled 1 -> 4 -> 1")


def draw(qps: dict[int, float], seconds: Sequence[Second]) -> None:
    """Throughput by replicas; offered, answered and replicas over time."""
    figure, (left, right) = panels(2, f"A model that sleeps {SLEEP_S * 1e3:g} ms a batch of {BATCH}")
    left.plot(list(qps), [count * qps[1] for count in qps], ":", color="grey", label="in proportion")
    left.plot(list(qps), list(qps.values()), "o-", label="measured")
    left.set(xlabel="replicas", ylabel="queries/s", xticks=list(qps), ylim=(0, None))
    left.legend(frameon=False)
    times = range(1, len(seconds) + 1)
    right.plot(times, [second.offered_qps for second in seconds], ":", color="grey", label="offered")
    right.plot(times, [second.answered for second in seconds], label="answered")
    right.set(xlabel="seconds", ylabel="queries/s", ylim=(0, None))
    replicas = right.twinx()
    replicas.step(times, [second.ready for second in seconds], color="C1", where="post", label="replicas")
    replicas.set(ylabel="replicas", ylim=(0, 6))
    right.legend(frameon=False, loc="upper left")
    replicas.legend(frameon=False, loc="upper right")
    save_picture("scaling", figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=FULL_S, help="for each number of replicas (%(default)s)")
    wanted_s = parser.parse_args().seconds
    qps, seconds = measure(Shape.of(wanted_s))
    content = report(qps, seconds)
    show(console(), content)
    if wanted_s >= FULL_S:
        save("scaling", content)
        draw(qps, seconds)
    if qps[4] < AT_LEAST * qps[1]:
        sys.exit(f"Four replicas have {qps[4] / qps[1]:.2f} times the throughput of one, not {AT_LEAST}.")


if __name__ == "__main__":
    main()
