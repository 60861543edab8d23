"""Queries of policies that choose one model for each: drawn here, so that the propensity of the choice is known."""

import hashlib
from typing import Final

from clipper.engine.answer import Answer
from clipper.engine.application import ServedApplication
from clipper.engine.choosing import MAX_OUTPUT_BYTES, ChoiceTicket, Choosing, Conclude
from clipper.engine.distribution import Distribution, restricted
from clipper.engine.explain import explained_choice, story
from clipper.engine.failing import FailingArms
from clipper.engine.fleet import Fleet
from clipper.engine.selection import Selection
from clipper.engine.token import NO_OUTPUT
from clipper.errors import ClipperError, DeadlineExceeded, ModelError, NoModelReady, PolicyFailed

_POINT_BYTES: Final = 8
_POINTS: Final = 256**_POINT_BYTES
_MAX_KEY_BYTES: Final = 64


class BanditTicket(ChoiceTicket):
    """A query given to one arm. Those that could have got it are the arms of its ``distribution``."""

    __slots__ = ("arm", "propensity")

    arm: str | None
    propensity: float


class Bandit(Choosing[BanditTicket]):
    """Draws from the policy's distribution, among the models that can be asked now.

    While only some of them have a ready replica, the others have no chance: the rest share theirs in proportion. So it
    is with arms that fail query after query (`FailingArms`). While none can be asked, all can: the abstraction layer
    knows whether one is expected back in time.
    """

    ticket_class = BanditTicket

    def __init__(self, app: ServedApplication, fleet: Fleet, selection: Selection, conclude: Conclude) -> None:
        self._failing = FailingArms()
        super().__init__(app, fleet, selection, conclude)
        self._sticky = app.policy.sticky
        self._sticky_key = f"{app.name} {app.generation}".encode()[-_MAX_KEY_BYTES:]

    def _look_around(self) -> None:
        super()._look_around()
        self._failing.retain(self._serving)
        self._admit(self.selection.timers.now())

    def _admit(self, now_s: float) -> None:
        """Find out which arms may be drawn, until ``_next_probe_s`` at most."""
        alone = self._failing.left_alone(now_s)
        self._next_probe_s = self._failing.next_probe_s(now_s)
        self._admitted = tuple(arm for arm in self._available if arm not in alone) or self._available
        self._all_well = len(self._available) == len(self._serving) and not self._failing.ejected
        self._whole: Distribution | None = None
        self._part: Distribution | None = None

    def _ask(self, ticket: BanditTicket, distribution: Distribution) -> None:
        whole = distribution
        if not self._all_well:
            distribution = self._within_reach(distribution)
        ticket.distribution = distribution
        if distribution.fault is not None:
            arm = self._without_policy(ticket, distribution, distribution.fault)
        else:
            uid = ticket.query.uid
            if self._sticky and uid is not None:
                index = self._place_of(uid, whole, distribution)
            else:
                index = distribution.draw(self.selection.chance())
            arm = distribution.arms[index]
            ticket.propensity = distribution.probabilities[index]
        ticket.arm = arm
        served = self._serving[arm] if arm is not None else None
        if arm in self._on_trial and served is not None:
            served = self._on_trial[arm].pick(ticket.query.uid)
        if served is None:
            ticket.error = ticket.fallback or NoModelReady(
                f"Model '{arm}' of application '{self.app.name}' has no version that is ready to serve.",
                retry_after_s=1.0,
            )
            self._on_result(ticket)
            return
        if not self._all_well and arm is not None and self._failing.probe(arm, ticket, ticket.deadline_s):
            self._admit(self.selection.timers.now())
        ticket.served = served
        self.metrics.choices[served.name] += 1
        served.submit(ticket)

    def _without_policy(self, ticket: BanditTicket, distribution: Distribution, fault: PolicyFailed) -> str | None:
        ticket.fallback = fault
        ticket.propensity = 1.0
        return self._last_resort("distribution", distribution, distribution.arms)

    def _on_result(self, ticket: BanditTicket) -> None:
        error, output, served = ticket.error, ticket.output, ticket.served
        models = () if served is None else (served.name,)
        if error is None:
            if self._failing.records and not ticket.cached:
                self._forgive(ticket)
            answer = Answer("", output, False, None, models)  # by position: a fraction of a microsecond, every time
        else:
            self._hold_against(ticket, error)
            answer = self._failed(error)
            answer.models = models
        answer.fallback = ticket.fallback
        if self._learns and served is not None and answer.output is not None:
            answer.query_id = self._id_of(ticket, answer, models)
        if ticket.query.explain:
            answer.explanation = self._explanation(ticket)
        self._conclude(ticket, answer)

    def _id_of(self, ticket: BanditTicket, answer: Answer, models: tuple[str, ...]) -> str:
        ticket.nonce = self.selection.nonce()
        output, arm, distribution = ticket.output, ticket.arm, ticket.distribution
        assert arm is not None  # noqa: S101  # it was asked
        assert distribution is not None  # noqa: S101  # as above
        if output is not None and len(output) > MAX_OUTPUT_BYTES:
            self.selection.outputs.put(ticket.nonce, models[0], output)
            output = None
        elif output is None and isinstance(ticket.error, ModelError | DeadlineExceeded):
            output = NO_OUTPUT
        given = answer.output if answer.default else None
        return self._query_id(
            ticket, (arm,), models, (ticket.propensity,), (output,), given, answer.default, distribution.arms
        )

    def _hold_against(self, ticket: BanditTicket, error: ClipperError) -> None:
        """Count a failure that is the arm's own: it raised, or was late though it had all the time there is."""
        arm, served = ticket.arm, ticket.served
        if arm not in self._available or served is None or served is not self._serving[arm]:
            return
        timeout_ms = ticket.query.timeout_ms
        had_all_time = timeout_ms is None or timeout_ms >= self.app.slo_s * 1e3
        if not isinstance(error, ModelError | DeadlineExceeded if had_all_time else ModelError):
            return
        now_s = self.selection.timers.now()
        if self._failing.failure(arm, served, ticket, now_s, available=self._available):
            self.metrics.ejections[served.name] += 1
            self._admit(now_s)

    def _forgive(self, ticket: BanditTicket) -> None:
        """An output that was made just now. One from the cache does not tell what the model would say now."""
        arm = ticket.arm
        if arm is not None and ticket.served is self._serving.get(arm) and self._failing.success(arm):
            self._admit(self.selection.timers.now())

    def _within_reach(self, distribution: Distribution) -> Distribution:
        """The distribution among the arms that may be drawn now; the whole one where none of these has any chance."""
        now_s = self.selection.timers.now()
        if now_s >= self._next_probe_s:
            self._admit(now_s)
        if len(self._admitted) == len(self._serving):
            return distribution
        if distribution is not self._whole or self._part is None:
            self._whole = distribution
            self._part = (restricted(distribution, self._admitted) if self._admitted else None) or distribution
        return self._part

    def _place_of(self, uid: str, whole: Distribution, part: Distribution) -> int:
        """Where a user belongs. Who belongs to an arm out of reach goes elsewhere meanwhile; nobody else moves."""
        index = whole.draw(self._point_of(uid))
        if part is whole:
            return index
        arm = whole.arms[index]
        return part.arms.index(arm) if arm in part.arms else part.draw(self._point_of(uid, b"elsewhere"))

    def _point_of(self, uid: str, purpose: bytes = b"") -> float:
        """Always the same for a user of this application, and independent of what it is in another one."""
        name = uid.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, key=self._sticky_key, digest_size=_POINT_BYTES, person=purpose)
        return min(int.from_bytes(digest.digest(), "big") / _POINTS, 1.0 - 2.0**-53)

    def _explanation(self, ticket: BanditTicket) -> dict[str, object]:
        distribution, served = ticket.distribution, ticket.served
        weights = distribution.weights if distribution is not None else {}
        arm = ticket.arm
        told = {served.name: story(ticket, weights.get(arm or ""), ticket.propensity)} if served is not None else {}
        return explained_choice(
            ticket,
            self.selection.timers.now(),
            models=told,
            weights=weights,
            chosen=arm,
            context=ticket.user,
            fallback=ticket.fallback,
            ejected=self._failing.describe(self.selection.timers.now()),
        )
