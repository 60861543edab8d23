"""The feedback store with many users: what a commit and a reader wait for, how large the file is, what pruning costs.

Every user of one application gives one piece of feedback, on five models. Then, beside that many rows: commits of 1 and
of 100 records for random users, reading users that nobody holds in memory (alone and beside a process that commits
without a pause), a look at what changed, dropping a tenth of the log while others commit, and erasing one person.
Run: `python benchmarks/feedback_store.py [--users 1000000]`; with a million users it takes some ten minutes and 2 GB.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

from table import console, grid, provenance, save

from clipper.feedback import FeedbackRecord
from clipper.state.sqlite_feedback import SqliteFeedbackStore

APPLICATION = ("digits", 1)
MODELS = tuple(f"model-{number}" for number in range(5))
GROUP = 2_000
ROUNDS = 300
CHANCE = Random(11)  # noqa: S311  # seeded, so that a run comes again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    users = parser.parse_args().users
    out = console()
    with tempfile.TemporaryDirectory(prefix="clipper-bench-") as folder:
        rows = asyncio.run(_measure(Path(folder), users))
    out.print(grid(f"Feedback store, {users} users", ("what", "median", "99th percentile", "longest"), rows))
    out.print(f"Written to {save('feedback-store', {**provenance(), 'users': users, 'rows': rows})}")


async def _measure(folder: Path, users: int) -> list[tuple[str, ...]]:
    store = await SqliteFeedbackStore.open(folder)
    numbers = iter(range(1 << 60))
    began_s = time.perf_counter()
    for first in range(0, users, GROUP):
        await store.commit([_record(next(numbers), uid) for uid in range(first, min(first + GROUP, users))])
    filled_s = time.perf_counter() - began_s
    size_mb = _size_mb(folder)
    rows: list[tuple[str, ...]] = [
        ("filling", f"{users / filled_s:.0f} records/s", "", ""),
        ("the file", f"{size_mb:.0f} MB", f"{size_mb * 1e6 / users:.0f} B a user", ""),
    ]

    def some(count: int) -> list[FeedbackRecord]:
        return [_record(next(numbers), CHANCE.randrange(users)) for _ in range(count)]

    async def read() -> None:
        uids = {f"user-{CHANCE.randrange(users)}" for _ in range(64)}
        await store.evidence([(*APPLICATION, uid) for uid in uids])

    async def look() -> None:
        await store.changes((await store.changes(-1)).sequence)

    rows.append(await _timed("commit of 1", lambda: store.commit(some(1))))
    rows.append(await _timed("commit of 100", lambda: store.commit(some(100))))
    rows.append(await _timed("reading 64 users", read))
    rows.append(await _timed("a look at what changed", look))
    async with _committing(store, some):
        rows.append(await _timed("reading 64 users beside commits", read))
    pruning = asyncio.create_task(store.prune(before=float(users // 10)))
    rows.append(await _timed("commit of 1 beside pruning", lambda: store.commit(some(1)), while_pending=pruning))
    rows.append((f"pruning {await pruning} records beside that", "", "", ""))
    rows.append(await _timed("listing the applications", store.applications))
    rows.append(await _timed("erasing a person", lambda: store.erase_uid(f"user-{CHANCE.randrange(users)}"), rounds=20))
    await store.close()
    return rows


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


@asynccontextmanager
async def _committing(store: SqliteFeedbackStore, some: Callable[[int], list[FeedbackRecord]]) -> AsyncIterator[None]:
    async def forever() -> None:
        while True:
            await store.commit(some(100))

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _timed(
    what: str,
    act: Callable[[], Awaitable[object]],
    *,
    rounds: int = ROUNDS,
    while_pending: asyncio.Task[int] | None = None,
) -> tuple[str, ...]:
    """A row of the table: how long ``act`` took, so many times or until the task is done."""
    taken_ms = []
    for number in _rounds(rounds, while_pending):
        began_s = time.perf_counter()
        await act()
        taken_ms.append((time.perf_counter() - began_s) * 1e3)
        await asyncio.sleep(0.002 * (number % 3))
    taken_ms.sort()
    figures = (taken_ms[len(taken_ms) // 2], taken_ms[int(len(taken_ms) * 0.99)], taken_ms[-1])
    return (what, *(f"{figure:.2f} ms" for figure in figures))


def _rounds(rounds: int, while_pending: asyncio.Task[int] | None) -> Iterator[int]:
    number = 0
    while number < rounds if while_pending is None else not while_pending.done():
        yield number
        number += 1


def _record(number: int, user: int) -> FeedbackRecord:
    losses = tuple(float(CHANCE.random() < 0.1 * (arm + 1)) for arm in range(len(MODELS)))
    return FeedbackRecord(
        application=APPLICATION[0],
        generation=APPLICATION[1],
        feedback_id=b"frontend" + number.to_bytes(8, "big"),
        accepted_at=float(number),
        answered_at=number - 1.0,
        full_information=False,
        policy="exp4",
        models=tuple(f"{model}:1" for model in MODELS),
        arms=MODELS,
        propensities=(1.0,) * len(MODELS),
        outputs=(3, 3, 8, 3, 1),
        losses=losses,
        label=3,
        change={
            arm: {"eligible": 1.0, "plays": 1.0, "loss": loss, "weighted_loss": loss}
            for arm, loss in zip(MODELS, losses, strict=True)
        },
        half_life_feedbacks=1000.0,
        uid=f"user-{user}",
        query_id="q" * 160,
        answer=3,
        answer_loss=0.0,
        input_digest=b"d" * 16,
    )


if __name__ == "__main__":
    main()
