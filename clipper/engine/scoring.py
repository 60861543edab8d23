"""What every model of an application says to an input that feedback came with: full information, after the fact."""

import asyncio

from clipper.abstraction.call import Call
from clipper.abstraction.served import ServedVersion
from clipper.engine.application import ServedApplication
from clipper.engine.arms import arms_of

Scores = dict[str, tuple[str, bytes | None]]
"""Arm -> (``model:version``, its output as JSON; None: it failed, or none could be asked)."""


class Scoring:
    """One input on its way through all models of an application, from the cache where it is there."""

    def __init__(self, app: ServedApplication, row: bytes, *, now_s: float, deadline_s: float) -> None:
        self._serving = arms_of(app.policy, app.routes)
        self._calls = {arm: Call(row, now_s, deadline_s, self._on_result) for arm in self._serving}
        self._left = len(self._calls)
        self._over = asyncio.get_running_loop().create_future()

    async def scores(self) -> Scores:
        """Ask all of them, and wait. Cancelled, it takes back what was asked."""
        try:
            for arm, served in self._serving.items():
                if served is None:
                    self._on_result(self._calls[arm])
                else:
                    served.submit(self._calls[arm])
            if self._left:
                await self._over
        finally:
            for arm, served in self._serving.items():
                if served is not None:
                    served.cancel(self._calls[arm])
        return {arm: (_name(arm, served), self._calls[arm].output) for arm, served in self._serving.items()}

    def _on_result(self, _call: Call) -> None:
        self._left -= 1
        if self._left == 0 and not self._over.done():
            self._over.set_result(None)


def _name(arm: str, served: ServedVersion | None) -> str:
    return arm if served is None else served.name
