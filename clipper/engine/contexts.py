"""The contexts of one application: what its policy makes of everybody's feedback, and of each user's own."""

from collections.abc import Callable
from typing import Final

import msgspec

from clipper.engine.distribution import Distribution, distribution_of
from clipper.engine.held import HeldEvidence, HeldUser
from clipper.evidence import Evidence, State
from clipper.feedback import ApplicationKey, ContextKey
from clipper.selection import Policy
from clipper.selection.learning import state_of_user

PRIOR_REFRESH_S: Final = 1.0
"""Everybody's evidence, as users start from it, is looked at anew so often, and not with each piece of feedback."""


class _Prior(msgspec.Struct, eq=False, frozen=True):
    """Everybody's evidence as it was at one moment."""

    state: State
    taken_s: float
    revision: int


class Contexts:
    """Distributions by context, each made once for what is known.

    A policy that does not learn, or whose choice is a user's to keep, has one context only.
    """

    def __init__(
        self,
        application: ApplicationKey,
        policy: Policy,
        arms: tuple[str, ...],
        held: HeldEvidence,
        clock: Callable[[], float],
    ) -> None:
        self.application = application
        self.policy = policy
        self._arms = arms
        self._held = held
        self._evidence = held.shared(application)
        self._clock = clock
        self._by_user = policy.learns and not policy.sticky
        self._shared: Distribution | None = None
        self._shared_revision = -1
        self._prior: _Prior | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """What is chosen among now."""
        return self._arms

    @arms.setter
    def arms(self, arms: tuple[str, ...]) -> None:
        if arms != self._arms:
            self._arms = arms
            self._shared = self._prior = None

    def shared(self) -> Distribution:
        """What everybody's feedback says; for queries without a uid, and until a user is known."""
        shared = self._evidence
        if self._shared is None or self._shared_revision != shared.revision:
            self._shared = distribution_of(self.policy, self._arms, shared.evidence.present())
            self._shared_revision = shared.revision
        return self._shared

    def distribution(self, uid: str | None) -> Distribution | None:
        """What a user's own feedback says, beginning from everybody's; None while the user is not loaded."""
        if uid is None or not self._by_user:
            return self.shared()
        context = self.context_of(uid)
        held = self._held.user(context)
        if held is None:
            return None
        if not held.packed:
            return self.shared()
        prior = self._fresh_prior()
        if held.distribution is None or held.made_for is not prior:
            self._held.keep(context, held, self._of_user(held, prior), prior)
        return held.distribution

    def put(self, context: ContextKey, evidence: Evidence) -> None:
        """Newer evidence of one context: committed here, or read from the store."""
        self._held.put({context: evidence})

    def context_of(self, uid: str) -> ContextKey:
        """The key of that user's evidence in the store."""
        return (*self.application, uid)

    def _of_user(self, held: HeldUser, prior: _Prior) -> Distribution:
        own = held.evidence()
        own_state = own.present() if own is not None else {}
        state = state_of_user(own_state, prior.state, self.policy.prior_feedbacks)
        return distribution_of(self.policy, self._arms, state)

    def _fresh_prior(self) -> _Prior:
        shared = self._evidence
        prior, now_s = self._prior, self._clock()
        if prior is None or (prior.revision != shared.revision and now_s - prior.taken_s >= PRIOR_REFRESH_S):
            prior = self._prior = _Prior(shared.evidence.present(), now_s, shared.revision)
        return prior
