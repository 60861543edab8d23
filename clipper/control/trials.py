"""The canaries of all models: begun when they serve, compared while they do, over when `judge` or a user says so."""

from dataclasses import dataclass, replace

from clipper.control.rollout import Tally, Verdict, judge, tally_of
from clipper.control.sight import Sight
from clipper.control.traffic import conclude_canary
from clipper.deployment import Canary, Rollout, RolloutState
from clipper.domain import Version
from clipper.state.store import DesiredEdit

TELL_EVERY_S = 5.0
"""How often the figures of a canary that runs go into the store, which every frontend reads then."""
SETTLE_S = 3.0
"""Times count from so long after the first query on: first answers take longer, and say little about the others."""
SLOW_LOOKS = 3
"""Looks at which more slow answers came, before they are the canary's way and not one stall; see `Verdict.slow`."""


@dataclass(frozen=True)
class Conclusion:
    """A canary is over: the edit that makes it so, and what is to be said once it is made."""

    edit: DesiredEdit
    rollout: Rollout


@dataclass(frozen=True)
class _Trial:
    """A canary under comparison, and where both versions stood when it began.

    ``asked_s`` is when its first query was seen, ``settled`` where both stood when their times began to count.
    ``slow`` answers were known at the last of the ``slow_looks`` at which they were too many.
    """

    version: Version
    against: str
    began_s: float
    told_s: float
    new: Tally
    old: Tally
    asked_s: float | None = None
    settled: tuple[Tally, Tally] | None = None
    slow: int = 0
    slow_looks: int = 0


class Trials:
    """Remembers when each canary began, and what both versions had come to by then."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}
        self._waiting: dict[str, tuple[int, int]] = {}
        """The generation of a model's canary that has not begun, and its version's queries when that was first seen."""

    def look(self, sight: Sight) -> tuple[dict[str, Rollout], tuple[Conclusion, ...]]:
        """How the last canary of each model goes or went, and those that are over now."""
        rollouts: dict[str, Rollout] = {}
        conclusions: list[Conclusion] = []
        self._trials = {model: trial for model, trial in self._trials.items() if model in sight.desired.models}
        self._waiting = {model: one for model, one in self._waiting.items() if model in sight.desired.models}
        for model, of_model in sight.desired.models.items():
            before = sight.observed.rollouts.get(model)
            version = sight.desired.version(model, of_model.canary or "")
            if version is None or version.spec.canary is None:
                self._trials.pop(model, None)
                self._waiting.pop(model, None)
                rollouts |= {} if before is None else {model: _ended(before, of_model.target, sight.wall_s)}
                continue
            rollouts[model], verdict = self._tried(version, version.spec.canary, before, sight)
            if verdict.decision != "wait":
                conclusions.append(_conclusion(version, rollouts[model], verdict, sight.wall_s))
        return rollouts, tuple(conclusions)

    def _tried(self, version: Version, canary: Canary, before: Rollout | None, sight: Sight) -> tuple[Rollout, Verdict]:
        against = sight.observed.current.get(version.model)
        trial = self._trial_of(version, against, sight)
        if trial is not None:
            verdict, state = self._compare(trial, canary, sight), "running"
        else:
            verdict, state = self._not_begun(version, against, sight), "waiting"
        rollout = Rollout(
            model=version.model,
            version=version.spec.version,
            generation=version.generation,
            against=against or version.spec.version,
            share=canary.share,
            state=state,
            reason=verdict.reason,
            since=sight.wall_s,
        )
        if before is None or not _is_same(before, rollout):
            return rollout, verdict
        reason = rollout.reason if trial is None or self._is_time_to_tell(version.model, sight.now_s) else before.reason
        return rollout.model_copy(update={"since": before.since, "reason": reason}), verdict

    def _trial_of(self, version: Version, against: str | None, sight: Sight) -> _Trial | None:
        """The comparison under way, which begins when the canary is ready; None: it has not begun."""
        trial = self._trials.get(version.model)
        if trial is not None and (trial.version.generation, trial.against) == (version.generation, against):
            return trial
        status = sight.status_of(version)
        if against is None or status is None or status.state != "ready":
            return None
        new, old = _tallies(version, against, sight)
        self._trials[version.model] = trial = _Trial(version, against, sight.now_s, sight.now_s, new, old)
        return trial

    def _compare(self, trial: _Trial, canary: Canary, sight: Sight) -> Verdict:
        now = _tallies(trial.version, trial.against, sight)
        trial = _settled(trial, now, sight.now_s)
        verdict = judge(canary, *_since_it_began(trial, now), sight.now_s - trial.began_s)
        if verdict.slow is not None:
            trial = replace(trial, slow=verdict.slow, slow_looks=trial.slow_looks + (verdict.slow > trial.slow))
            if trial.slow_looks < SLOW_LOOKS:
                verdict = Verdict("wait", f"{verdict.reason}; it is rolled back if that goes on")
        self._trials[trial.version.model] = trial
        status = sight.status_of(trial.version)
        if status is not None and status.state == "failed" and verdict.decision != "roll back":
            return Verdict("roll back", status.reason or "its replicas fail")
        return verdict

    def _not_begun(self, version: Version, against: str | None, sight: Sight) -> Verdict:
        if against is None and sight.desired.models[version.model].target is None:
            return Verdict("promote", "no other version has the traffic")
        if against is None:
            return Verdict("wait", "no other version has the traffic yet")
        status = sight.status_of(version)
        if status is None:
            return Verdict("wait", "it is registered")
        said = f": {status.reason}" if status.reason else ""
        if self._has_been_asked(version, sight) and status.state == "failed":
            # It was ready between two looks and crashed: each restart would take some more of its share along.
            return Verdict("roll back", f"its replicas fail{said}")
        return Verdict("wait", f"it is {status.state}{said}")

    def _has_been_asked(self, version: Version, sight: Sight) -> bool:
        queries = tally_of(sight.measured.counts.get(version.key)).queries
        generation, before = self._waiting.get(version.model, (None, 0))
        if generation != version.generation or queries < before:
            self._waiting[version.model] = (version.generation, queries)
            return False
        return queries > before

    def _is_time_to_tell(self, model: str, now_s: float) -> bool:
        trial = self._trials[model]
        if now_s < trial.told_s + TELL_EVERY_S:
            return False
        self._trials[model] = replace(trial, told_s=now_s)
        return True


def _tallies(version: Version, against: str, sight: Sight) -> tuple[Tally, Tally]:
    counts = sight.measured.counts
    return tally_of(counts.get(version.key)), tally_of(counts.get((version.model, against)))


def _settled(trial: _Trial, now: tuple[Tally, Tally], now_s: float) -> _Trial:
    """The trial, with where both versions stand if their times count from now on."""
    if trial.settled is not None:
        return trial
    if trial.asked_s is None:
        return replace(trial, asked_s=now_s) if now[0].queries > trial.new.queries else trial
    return replace(trial, settled=now) if now_s >= trial.asked_s + SETTLE_S else trial


def _since_it_began(trial: _Trial, now: tuple[Tally, Tally]) -> tuple[Tally, Tally]:
    """What both came to, their times only as far as they count."""
    new, old = now[0].since(trial.new), now[1].since(trial.old)
    if trial.settled is None:
        return new.timed_as(Tally()), old.timed_as(Tally())
    return new.timed_as(now[0].since(trial.settled[0])), old.timed_as(now[1].since(trial.settled[1]))


def _conclusion(version: Version, rollout: Rollout, verdict: Verdict, wall_s: float) -> Conclusion:
    won = verdict.decision == "promote"
    state: RolloutState = "promoted" if won else "rolled_back"
    told = rollout.model_copy(update={"state": state, "reason": verdict.reason, "since": wall_s})
    return Conclusion(lambda desired, _revision: conclude_canary(desired, version, won=won), told)


def _ended(before: Rollout, target: str | None, wall_s: float) -> Rollout:
    """What is said of a canary that is none any more; a user has ended what was not over."""
    if before.state not in {"waiting", "running"}:
        return before
    won = before.version == target
    reason = "by hand" if won else f"by hand, in favour of {target}" if target is not None else "by hand"
    state: RolloutState = "promoted" if won else "ended"
    return before.model_copy(update={"state": state, "reason": reason, "since": wall_s})


def _is_same(before: Rollout, now: Rollout) -> bool:
    return (before.version, before.generation, before.against, before.state) == (
        now.version,
        now.generation,
        now.against,
        now.state,
    )
