"""Policies under evaluation: one model for ever, or a policy that learns on the way."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from clipper.evaluation.event import Event
from clipper.evaluation.learner import Learner
from clipper.evaluation.results import Kind
from clipper.selection import Policy
from clipper.selection.losses import Loss


class Fallback(msgspec.Struct, frozen=True):
    """The output that answers where the confidence of an ensemble is lower than that."""

    min_confidence: float
    default_output: Any


class Candidate:
    """One way to answer the logged queries. It raises whatever its policy raises."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind

    def probabilities(self, event: Event) -> Mapping[str, float]:
        """How it would have chosen, or weighed, given what it has learnt by then."""
        raise NotImplementedError

    def loss(self, event: Event, probabilities: Mapping[str, float]) -> float | None:
        """The loss of its answer, where it does not choose one model; None where the log cannot say."""
        raise NotImplementedError

    def learn(self, event: Event, probabilities: Mapping[str, float]) -> None:
        """Take notice of the feedback."""


class _Always(Candidate):
    def __init__(self, model: str) -> None:
        super().__init__(model, "single")
        self._one = {model: 1.0}

    def probabilities(self, event: Event) -> Mapping[str, float]:  # noqa: ARG002  # the same whatever happens
        return self._one


class _Adaptive(Candidate):
    def __init__(self, name: str, policy: Policy, loss: Loss, fallback: Fallback | None, learner: Learner) -> None:
        super().__init__(name, "ensemble" if policy.is_ensemble else "policy")
        self._policy = policy
        self._loss = loss
        self._fallback = fallback
        self._learner = learner

    def probabilities(self, event: Event) -> Mapping[str, float]:
        return self._learner.probabilities(event)

    def loss(self, event: Event, probabilities: Mapping[str, float]) -> float | None:
        if not event.complete or not event.outputs:
            return None
        output, confidence = self._policy.combine(event.outputs, probabilities, self._loss)
        if self._fallback is not None and confidence < self._fallback.min_confidence:
            output = self._fallback.default_output
        loss = self._loss.of(output, event.label)
        return 1.0 if loss is None else loss

    def learn(self, event: Event, probabilities: Mapping[str, float]) -> None:
        self._learner.learn(event, probabilities)


def always(model: str) -> Candidate:
    """That model answers every query."""
    return _Always(model)


def adaptive(
    name: str, policy: Policy, *, loss: Loss, draw: Callable[[], float], fallback: Fallback | None = None
) -> Candidate:
    """A policy that starts without evidence and learns from the log.

    Args:
        name: Under which it is reported.
        policy: With its options.
        loss: The application's: an ensemble's answers are judged by it.
        draw: A random number in [0, 1), seeded: where all models were asked, it decides whom the policy had asked.
        fallback: What answers for an ensemble that is not sure, where the application says so.
    """
    return _Adaptive(name, policy, loss, fallback, Learner(policy, draw))
