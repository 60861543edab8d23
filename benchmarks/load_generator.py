"""What the load generator itself can do: one process of it on one core, against a server that has no model.

``python benchmarks/load_generator.py [--seconds S]``. The bare server gets a core of its own where there is one, so
that what is measured is the generator: the rate of a closed loop, and at given rates of an open loop, how much of a
core it takes and how late queries leave. The project holds itself to 20,000 queries a second.
"""

import argparse
import asyncio
import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import servers
import table

from clipper.loadgen import InputSource, Plan, Summary, Target, run

RATES_QPS = (5_000.0, 10_000.0, 20_000.0, 30_000.0)
CALLERS = 64
TARGET_QPS = 20_000
INPUTS = InputSource(input_type="doubles", width=10)


class Case(NamedTuple):
    """A closed loop if there is no rate."""

    name: str
    rate_qps: float | None
    connections: int


CASES = (Case(f"closed, {CALLERS} callers", None, CALLERS), *(Case(f"open, {r:,.0f}/s", r, 1024) for r in RATES_QPS))


async def measure(case: Case, target: Target, seconds: float) -> Summary:
    """One run."""
    plan = Plan(
        duration_s=seconds, rate_qps=case.rate_qps, connections=case.connections, timeout_s=5.0, slo_s=0.02, seed=0
    )
    summary = Summary(plan)
    await run(plan, target, INPUTS, summary.add, asyncio.Event())
    return summary


def cores() -> tuple[set[int], set[int]]:
    """For the server and for the generator: one each where there are two."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


def figures(case: Case, summary: Summary) -> dict[str, Any]:
    """What a run says of the generator."""
    answered_qps = summary.per_s(summary.count("answered"))
    cpu = summary.generator_cpu
    latencies = summary.latencies["answered"]
    return {
        "case": case.name,
        "asked_qps": summary.per_s(summary.due),
        "answered_qps": answered_qps,
        "generator_cpu": cpu,
        "cpu_us_a_query": cpu / answered_qps * 1e6 if answered_qps else None,
        "qps_of_a_whole_core": answered_qps / cpu if cpu else None,
        "late_p50_ms": summary.delays.quantile_s(0.5) * 1e3,
        "late_p99_ms": summary.delays.quantile_s(0.99) * 1e3,
        "latency_p50_ms": latencies.quantile_s(0.5) * 1e3,
        "latency_p99_ms": latencies.quantile_s(0.99) * 1e3,
    }


def row(result: dict[str, Any]) -> list[str]:
    """One line of the table."""
    return [
        result["case"],
        f"{result['asked_qps']:,.0f}",
        f"{result['answered_qps']:,.0f}",
        f"{result['generator_cpu']:.0%}",
        f"{result['cpu_us_a_query'] or 0:.1f}",
        *(f"{result[key]:.3f}" for key in ("late_p50_ms", "late_p99_ms", "latency_p50_ms", "latency_p99_ms")),
    ]


COLUMNS = ("", "asked/s", "answered/s", "of a core", "CPU us a query", "late P50 ms", "late P99 ms", "P50 ms", "P99 ms")


def main() -> None:
    """Measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    server_core, generator_core = cores()
    with servers.bare() as bare:
        os.sched_setaffinity(bare.pid, server_core)
        os.sched_setaffinity(0, generator_core)  # its processes inherit it
        parts = urlsplit(bare.query_url)
        target = Target(parts.hostname or "", parts.port or 80, "bare")
        results = [figures(case, asyncio.run(measure(case, target, seconds))) for case in CASES]
    out = table.console()
    out.print(table.grid("The load generator, one process on one core", COLUMNS, [row(result) for result in results]))
    best_qps = max(result["answered_qps"] for result in results)
    out.print(f"{best_qps:,.0f} queries a second; {'at least' if best_qps >= TARGET_QPS else 'NOT'} {TARGET_QPS:,}.")
    table.save("load-generator", {"provenance": table.provenance(), "seconds": seconds, "results": results})


if __name__ == "__main__":
    main()
