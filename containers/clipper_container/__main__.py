"""``python -m clipper_container``: reads the options, sets what has to be set before numpy is imported, serves."""

import contextlib
import faulthandler
import os
import sys
import threading

from clipper_container.memory import keep_freed_memory
from clipper_container.options import Options, parse_options

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


END_TIMEOUT_S = 2.0
"""How long a model's own threads and exit handlers may keep the process once the replica has ended."""


def main() -> int:
    """Serves until the replica is stopped or orphaned; the exit code is one of `clipper_container.runtime`'s."""
    options = parse_options(sys.argv[1:])
    _prepare(options)
    # Imported only now: BLAS and OpenMP read their thread counts when numpy is imported.
    from clipper_container.runtime import Replica  # noqa: PLC0415

    code = Replica(options).run()
    _end_within(END_TIMEOUT_S, code)
    return code


def _end_within(timeout_s: float, code: int) -> None:
    """Ends the process where the interpreter would wait for ever for a thread of the model's."""
    timer = threading.Timer(timeout_s, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _prepare(options: Options) -> None:
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(options.threads))
    faulthandler.enable()
    keep_freed_memory()
    _yield_to_the_frontend()
    for stream in (sys.stdout, sys.stderr):
        # What a model prints is kept up to the moment in which it dies, and never raises over an odd character.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper
    if options.memory_mb is not None:
        import resource  # noqa: PLC0415  # not on every platform

        limit = options.memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _yield_to_the_frontend() -> None:
    """A batch that arrives does not interrupt whoever runs; the kernel finds the replica an idle core, or it waits.

    A frontend writes to its replicas in the middle of a turn. Woken as a normal process, a replica often takes the
    core away from the frontend that woke it, several thousand times a second; four replicas on two cores answer 1.3 x
    as much without that.
    """
    if hasattr(os, "SCHED_BATCH"):  # Linux
        with contextlib.suppress(OSError):  # where a sandbox forbids it, all that is lost is some speed
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main())
