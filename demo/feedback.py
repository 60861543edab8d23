"""The demo's client of feedback: some of the labels are known, and only a while after the answer."""

import asyncio
import heapq
import random

from digits import Labels
from load import Reply

import clipper

SHARE = 0.7
"""Of the answers ever get a label."""
LATEST_S = 0.5
"""A label comes at most so long after its answer."""
INTERVAL_S = 0.05


class LateFeedback:
    """Posts the labels of some answers of one application, in lists, each when it is known."""

    def __init__(self, connection: clipper.AsyncConnection, application: str, labels: Labels, seed: int) -> None:
        self.accepted = 0
        self._connection = connection
        self._application = application
        self._labels = labels
        self._chance = random.Random(seed)  # noqa: S311  # seeded, so that a run can be repeated
        self._due: list[tuple[float, str, int]] = []

    def about(self, reply: Reply) -> None:
        """An answer came; perhaps somebody will say what was right."""
        if reply.query_id is not None and self._chance.random() < SHARE:
            due_s = asyncio.get_running_loop().time() + self._chance.uniform(0, LATEST_S)
            heapq.heappush(self._due, (due_s, reply.query_id, int(self._labels[reply.index])))

    async def run(self) -> None:
        """Post what is known, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self._post(asyncio.get_running_loop().time())

    async def finish(self) -> None:
        """Post everything that is left."""
        await self._post(float("inf"))

    async def _post(self, now_s: float) -> None:
        updates = []
        while self._due and self._due[0][0] <= now_s:
            _, query_id, label = heapq.heappop(self._due)
            updates.append({"query_id": query_id, "label": label})
        if updates:
            self.accepted += (await self._connection.update_many(self._application, updates)).accepted
