"""Queries of policies that ask every model and combine what has come by the deadline."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from clipper.abstraction.flight import linger
from clipper.abstraction.served import MAX_MARGIN_SHARE, ServedVersion
from clipper.engine.answer import Answer
from clipper.engine.application import ServedApplication
from clipper.engine.choosing import MAX_OUTPUT_BYTES, Choosing, Conclude
from clipper.engine.combination import Combiner
from clipper.engine.distribution import Distribution
from clipper.engine.due import DueQueue
from clipper.engine.explain import explained_choice, story
from clipper.engine.fleet import Fleet
from clipper.engine.members import EnsembleTicket, Member, Roll
from clipper.engine.selection import Selection
from clipper.errors import ClipperError, DeadlineExceeded, LowConfidence, NoModelReady, PolicyFailed

LATE_OUTPUT_S: Final = 10.0
"""So long after the answer an output that is being made is still waited for: feedback may use it."""


class Ensemble(Choosing[EnsembleTicket]):
    """Asks all arms at once, and answers when all have come, or a margin before the deadline with those that have.

    What is missing is named and stands for nothing: neither is it made up, nor do the others count as all there are.
    Answers of less than the application's ``min_confidence`` give way to its default, where it has one.
    """

    ticket_class = EnsembleTicket

    def __init__(self, app: ServedApplication, fleet: Fleet, selection: Selection, conclude: Conclude) -> None:
        super().__init__(app, fleet, selection, conclude)
        self._combiner = Combiner(app.policy, app.loss)
        self._due: DueQueue[EnsembleTicket] = DueQueue(selection.timers, self._combine)
        self._min_confidence = app.definition.min_confidence if app.default_fragment is not None else None

    def _look_around(self) -> None:
        super()._look_around()
        self._roll = Roll(self._serving)
        self._rolls: dict[tuple[ServedVersion | None, ...], Roll] = {self._roll.versions: self._roll}

    def _ask(self, ticket: EnsembleTicket, distribution: Distribution) -> None:
        ticket.distribution = distribution
        ticket.roll = roll = self._roll if not self._on_trial else self._roll_for(ticket.query.uid)
        ticket.waiting = True
        ticket.left = 1 + len(roll.versions)  # one for asking itself: nothing is combined before all are asked
        self.metrics.choices.update(roll.models)
        members, on_result = ticket.members, self._on_member
        for served in roll.versions:
            member = Member(ticket, on_result, served)
            members.append(member)
            if served is None:
                self._nobody(member, roll.arms[len(members) - 1])
            else:
                served.submit(member)
        ticket.left -= 1
        if ticket.left == 0:
            self._combine(ticket)
        else:
            given_s = ticket.deadline_s - ticket.submitted_s
            self._due.push(ticket.deadline_s - min(self.selection.margin_s, given_s * MAX_MARGIN_SHARE), ticket)

    def _roll_for(self, uid: str | None) -> Roll:
        """Who is asked for one query, while canaries answer some of them."""
        serving = {
            arm: self._on_trial[arm].pick(uid) if arm in self._on_trial else served
            for arm, served in self._serving.items()
        }
        versions = tuple(serving.values())
        if versions not in self._rolls:
            self._rolls[versions] = Roll(serving)
        return self._rolls[versions]

    def _nobody(self, member: Member, arm: str) -> None:
        member.error = NoModelReady(f"Model '{arm}' has no version that is ready to serve.", retry_after_s=1.0)
        member.ticket.left -= 1

    def _on_member(self, member: Member) -> None:
        ticket = member.ticket
        ticket.left -= 1
        if ticket.left == 0:
            self._combine(ticket)

    def _combine(self, ticket: EnsembleTicket) -> None:
        """Answer, exactly once: all are here, or it is time."""
        ticket.waiting = False
        if self._learns:
            ticket.nonce = self.selection.nonce()
        if ticket.left:
            self._stop_waiting(ticket)
        roll, members = ticket.roll, ticket.members
        assert roll is not None  # noqa: S101  # it has been asked
        outputs = [member.output for member in members]
        missing = self._missing(roll, members) if None in outputs else ()
        answer = self._answer(ticket, outputs)
        answer.models, answer.missing, answer.fallback = roll.models, missing, ticket.fallback
        if self._learns and (answer.error is None or answer.default):
            known = self._kept(ticket.nonce, roll, outputs)
            answer.query_id = self._query_id(
                ticket, roll.arms, roll.models, roll.ones, known, answer.output, answer.default
            )
        if ticket.query.explain:
            answer.explanation = self._explanation(ticket, roll)
        self._conclude(ticket, answer)
        members.clear()  # they know the ticket: a cycle that would cost a collection

    def _stop_waiting(self, ticket: EnsembleTicket) -> None:
        """The rest is late. What is being executed is still of use to feedback; what only waits is taken back."""
        until_s = self.selection.timers.now() + LATE_OUTPUT_S
        given_ms = (ticket.deadline_s - ticket.submitted_s) * 1e3
        for member in ticket.members:
            served = member.served
            if served is None or member.over:
                continue
            if self._learns and linger(member, until_s):
                self.selection.late_members += 1
                member.on_result = partial(self._on_late, ticket.nonce, served.name)
            else:
                served.cancel(member)
            member.error = DeadlineExceeded(f"{served.name} did not answer within the {given_ms:.1f} ms of this query.")

    def _on_late(self, nonce: bytes, model: str, member: Member) -> None:
        self.selection.late_members -= 1
        if member.output is not None:
            self.selection.outputs.put(nonce, model, member.output)

    def _kept(self, nonce: bytes, roll: Roll, outputs: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """What the query's id can carry of the outputs: all or, where they are too large, none; they are kept here."""
        if sum([len(output) for output in outputs if output is not None]) <= MAX_OUTPUT_BYTES:
            return outputs
        for model, output in zip(roll.models, outputs, strict=True):
            if output is not None:
                self.selection.outputs.put(nonce, model, output)
        return (None,) * len(outputs)

    def _missing(self, roll: Roll, members: Sequence[Member]) -> tuple[str, ...]:
        """The models whose output is missing, each counted by its cause."""
        missing = []
        for model, member in zip(roll.models, members, strict=True):
            if member.output is None:
                assert member.error is not None  # noqa: S101  # a member comes to an output or an error
                self.metrics.missing[model, member.error.code] += 1
                missing.append(model)
        return tuple(missing)

    def _answer(self, ticket: EnsembleTicket, outputs: Sequence[bytes | None]) -> Answer:
        """The policy's combination, or why there is none, or none that is good enough."""
        roll, distribution = ticket.roll, ticket.distribution
        assert roll is not None  # noqa: S101  # both are set before anything is asked
        assert distribution is not None  # noqa: S101  # as above
        distinct = {*outputs}
        if distinct == {None}:
            return self._failed(self._why_nothing(ticket, roll, distribution))
        self.metrics.combined += 1
        self.metrics.disagreements += len(distinct) > 1 + (None in distinct)
        try:
            output, confidence = self._combiner.combined(roll.arms, outputs, distribution)
        except PolicyFailed as fault:
            ticket.fallback = fault
            return self._answer_without_policy(fault, roll, outputs, distribution)
        if self._min_confidence is not None and confidence < self._min_confidence:
            sentence = (
                f"The models agree with a confidence of {confidence:.3g}; application '{self.app.name}' wants "
                f"{self._min_confidence:g}."
            )
            answer = self._failed(LowConfidence(sentence))
        else:
            answer = Answer("", output)
        answer.confidence = confidence
        return answer

    def _answer_without_policy(
        self, fault: PolicyFailed, roll: Roll, outputs: Sequence[bytes | None], distribution: Distribution
    ) -> Answer:
        arrived = {arm: output for arm, output in zip(roll.arms, outputs, strict=True) if output is not None}
        failed_in = "combine" if distribution.fault is None else "distribution"
        arm = self._last_resort(failed_in, distribution, tuple(arrived))
        return self._failed(fault) if arm is None else Answer("", arrived[arm])

    def _why_nothing(self, ticket: EnsembleTicket, roll: Roll, distribution: Distribution) -> ClipperError:
        """One error for all: that they are late if any is; else that of the member with the most weight."""
        errors = {arm: member.error for arm, member in zip(roll.arms, ticket.members, strict=True) if member.error}
        if any(isinstance(error, DeadlineExceeded) for error in errors.values()):
            given_ms = (ticket.deadline_s - ticket.submitted_s) * 1e3
            return DeadlineExceeded(
                f"None of the {len(errors)} models of application '{self.app.name}' answered within the "
                f"{given_ms:.1f} ms that this query had."
            )
        return errors[max(errors, key=lambda arm: distribution.weights.get(arm, 0.0))]

    def _explanation(self, ticket: EnsembleTicket, roll: Roll) -> dict[str, object]:
        weights = ticket.distribution.weights if ticket.distribution is not None else {}
        members = zip(roll.models, roll.arms, ticket.members, strict=True)
        return explained_choice(
            ticket,
            self.selection.timers.now(),
            models={model: story(member, weights.get(arm), 1.0) for model, arm, member in members},
            weights=weights,
            chosen=None,
            context=ticket.user,
            fallback=ticket.fallback,
        )
