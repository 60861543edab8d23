"""When queries come: the arrival processes of an open loop."""

from collections.abc import Iterator

import numpy as np

from clipper.loadgen.plan import ArrivalKind

BURSTINESS = 4.0
"""Coefficient of variation of the gaps of ``bursty``: 1 is Poisson, 0 is uniform. Serving traces have 2 to 8 (Li et
al., AlpaServe, OSDI 2023, draw gaps from the same Gamma distribution)."""
_CHUNK = 4096


def arrival_times(
    kind: ArrivalKind, rate_qps: float, duration_s: float, seed: int, process: int = 0, processes: int = 1
) -> Iterator[float]:
    """The moments of a run, in seconds from its start, in order, all before ``duration_s``.

    Several processes share the moments of one seed: each takes every ``processes``-th, so that together they send
    exactly what one would have sent.
    """
    random = np.random.default_rng([seed, 0])
    last_s = 0.0
    first = process
    while True:
        times_s = last_s + np.cumsum(_gaps(kind, random, _CHUNK)) / rate_qps
        last_s = float(times_s[-1])
        yield from times_s[first : int(np.searchsorted(times_s, duration_s)) : processes].tolist()
        if last_s >= duration_s:
            return
        first = (first - _CHUNK) % processes


def _gaps(kind: ArrivalKind, random: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Gaps between arrivals, with a mean of 1."""
    if kind == "uniform":
        return np.ones(count)
    if kind == "poisson":
        return random.exponential(size=count)
    shape = BURSTINESS**-2
    return random.gamma(shape, 1 / shape, size=count)
