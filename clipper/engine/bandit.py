"""Queries of policies that choose one model for each: drawn here, so that the propensity of the choice is known."""

import hashlib
from typing import Final

from clipper.engine.answer import Answer
from clipper.engine.application import ServedApplication
from clipper.engine.choosing import MAX_OUTPUT_BYTES, ChoiceTicket, Choosing, Conclude
from clipper.engine.distribution import Distribution, restricted
from clipper.engine.explain import explained_choice, story
from clipper.engine.fleet import Fleet
from clipper.engine.selection import Selection
from clipper.errors import NoModelReady, PolicyFailed

_POINT_BYTES: Final = 8
_POINTS: Final = 256**_POINT_BYTES
_MAX_KEY_BYTES: Final = 64


class BanditTicket(ChoiceTicket):
    """A query given to one arm. ``eligible`` are the arms that could have got it; None: all of them."""

    __slots__ = ("arm", "eligible", "propensity")

    arm: str | None
    eligible: tuple[str, ...] | None
    propensity: float


class Bandit(Choosing[BanditTicket]):
    """Draws from the policy's distribution, among the models that can be asked now.

    While only some of them have a ready replica, the others have no chance: the rest share theirs in proportion. While
    none has, all have: the abstraction layer knows whether one is expected back in time.
    """

    ticket_class = BanditTicket

    def __init__(self, app: ServedApplication, fleet: Fleet, selection: Selection, conclude: Conclude) -> None:
        super().__init__(app, fleet, selection, conclude)
        self._sticky = app.policy.sticky
        self._sticky_key = f"{app.name} {app.generation}".encode()[-_MAX_KEY_BYTES:]

    def _look_around(self) -> None:
        super()._look_around()
        self._all_available = len(self._available) == len(self._serving)
        self._whole: Distribution | None = None
        self._part: Distribution | None = None

    def _ask(self, ticket: BanditTicket, distribution: Distribution) -> None:
        ticket.eligible = None
        if not self._all_available:
            distribution = self._within_reach(ticket, distribution)
        ticket.distribution = distribution
        if distribution.fault is not None:
            arm = self._without_policy(ticket, distribution, distribution.fault)
        else:
            uid = ticket.query.uid
            point = self._point_of(uid) if self._sticky and uid is not None else self.selection.chance()
            index = distribution.draw(point)
            arm = distribution.arms[index]
            ticket.propensity = distribution.probabilities[index]
        ticket.arm = arm
        served = self._serving[arm] if arm is not None else None
        if served is None:
            ticket.error = ticket.fallback or NoModelReady(
                f"Model '{arm}' of application '{self.app.name}' has no version that is ready to serve.",
                retry_after_s=1.0,
            )
            self._on_result(ticket)
            return
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
            answer = Answer("", output, False, None, models)  # by position: a fraction of a microsecond, every time
        else:
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
        output, arm = ticket.output, ticket.arm
        assert arm is not None  # noqa: S101  # it was asked
        if output is not None and len(output) > MAX_OUTPUT_BYTES:
            self.selection.outputs.put(ticket.nonce, models[0], output)
            output = None
        given = answer.output if answer.default else None
        return self._query_id(
            ticket, (arm,), models, (ticket.propensity,), (output,), given, answer.default, ticket.eligible
        )

    def _within_reach(self, ticket: BanditTicket, distribution: Distribution) -> Distribution:
        """The distribution among the arms with a ready replica; the whole one where none of these has any chance."""
        if distribution is not self._whole or self._part is None:
            self._whole = distribution
            self._part = (restricted(distribution, self._available) if self._available else None) or distribution
        if self._part is not distribution:
            ticket.eligible = self._part.arms
        return self._part

    def _point_of(self, uid: str) -> float:
        """Always the same for a user of this application, and independent of what it is in another one."""
        digest = hashlib.blake2b(uid.encode("utf-8", "surrogatepass"), key=self._sticky_key, digest_size=_POINT_BYTES)
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
        )
