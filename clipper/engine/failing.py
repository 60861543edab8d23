"""Which arms of one application fail query after query, and are left alone for a while (pure).

A model that raises on every query, or answers none in time, comes to no output: feedback finds nothing to hold against
it, and may never come. So no label is waited for. The record is that of a replica (`clipper.abstraction.ejection`):
consecutive failures eject, each time for longer; then one query is the probe, whose fate decides.
"""

import math
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

from clipper.abstraction.ejection import Ejection


class _Record:
    """Of one arm as one version serves it. ``probe`` is the query that decides whether it comes back."""

    __slots__ = ("ejection", "probe", "served")

    def __init__(self, served: object) -> None:
        self.ejection = Ejection()
        self.probe: object = None
        self.served = served


class FailingArms:
    """The arms whose last query failed. ``records`` is empty while all is well: looking costs a success no more."""

    def __init__(self) -> None:
        self.records: Final[dict[str, _Record]] = {}

    @property
    def ejected(self) -> bool:
        """Whether any arm is left alone, or on probation."""
        return any(record.ejection.ejected for record in self.records.values())

    def retain(self, serving: Mapping[str, object]) -> None:
        """Forget arms that are gone; one that another version serves begins anew."""
        for arm in [arm for arm, record in self.records.items() if serving.get(arm) is not record.served]:
            del self.records[arm]

    def success(self, arm: str) -> bool:
        """Forgive an arm everything, for an output. Returns whether it had been ejected."""
        record = self.records.pop(arm, None)
        return record is not None and record.ejection.ejected

    def failure(self, arm: str, served: object, query: object, now_s: float, *, available: Iterable[str]) -> bool:
        """Count a failure of the arm. Returns True if it ejects it, which the last one ``available`` never is.

        What an ejected arm was asked before it was ejected says nothing new.
        """
        record = self.records.get(arm)
        if record is None:
            record = self.records[arm] = _Record(served)
        ejection = record.ejection
        if ejection.ejected and record.probe is not query:
            return False
        record.probe = None
        return ejection.failure(now_s, is_last=all(other == arm or self._is_ejected(other) for other in available))

    def probe(self, arm: str, query: object, until_s: float) -> bool:
        """The arm is asked. Returns True if this query is its probe: until its end, or then, there is no other."""
        if not self._is_ejected(arm):
            return False
        record = self.records[arm]
        record.probe, record.ejection.until_s = query, until_s
        return True

    def left_alone(self, now_s: float) -> Container[str]:
        """The arms that are not to be asked now."""
        return {arm for arm, record in self.records.items() if record.ejection.until_s > now_s}

    def next_probe_s(self, now_s: float) -> float:
        """When the first of them may be asked again; infinity where all may."""
        return min((u for record in self.records.values() if (u := record.ejection.until_s) > now_s), default=math.inf)

    def describe(self, now_s: float) -> dict[str, Any]:
        """The arms that are ejected: for how many failures in a row, and when each is asked again."""
        return {
            arm: {
                "failures": record.ejection.failures,
                "asked_again_in_ms": round(max(0.0, record.ejection.until_s - now_s) * 1e3, 3),
            }
            for arm, record in self.records.items()
            if record.ejection.ejected
        }

    def _is_ejected(self, arm: str) -> bool:
        record = self.records.get(arm)
        return record is not None and record.ejection.ejected
