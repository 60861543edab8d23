"""What every policy but ``single`` has in common on the way of a query: arms, context, query id, the end."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from clipper.domain import Query
from clipper.engine.answer import STATUSES_WITH_DEFAULT, Answer
from clipper.engine.application import ServedApplication
from clipper.engine.arms import Serving, arms_of, canaries_of
from clipper.engine.distribution import Distribution
from clipper.engine.fleet import Fleet
from clipper.engine.outputs import ANSWER
from clipper.engine.route import ModelRoute
from clipper.engine.selection import Selection
from clipper.engine.ticket import Ticket
from clipper.engine.token import Claims
from clipper.errors import ClipperError, InvalidRequest, NoModelReady, PolicyFailed

USER_WAIT_SHARE: Final = 0.1
"""Of the time that a query has: for so long it waits until its user is read from the store."""

MAX_USER_WAIT_S: Final = 0.05
"""However long the SLO; a store that works needs a millisecond."""

MAX_OUTPUT_BYTES: Final = 256
"""Larger outputs of one query are kept for its feedback in `OutputMemory`, and not in its id."""

Conclude = Callable[["ChoiceTicket", Answer], None]


class ChoiceTicket(Ticket):
    """A query whose models a policy chooses.

    ``distribution`` is what it was chosen by (None until then), ``fallback`` why the policy could not; ``user`` tells
    whose feedback decided.
    """

    __slots__ = ("distribution", "fallback", "nonce", "user")

    distribution: Distribution | None
    fallback: PolicyFailed | None
    nonce: bytes
    user: str


T = TypeVar("T", bound=ChoiceTicket)


class Choosing(ABC, Generic[T]):
    """Takes the queries of one application, for as long as its definition stays as it is.

    Args:
        app: The application.
        fleet: Where its models are served.
        selection: What all applications share.
        conclude: Delivers an answer; it gives it a query id where it has none.
    """

    ticket_class: Callable[..., T]

    def __init__(self, app: ServedApplication, fleet: Fleet, selection: Selection, conclude: Conclude) -> None:
        self.app = app
        self.contexts = app.contexts
        self.selection = selection
        self.metrics = app.metrics.selection
        self._fleet = fleet
        self._conclude = conclude
        self._logs_digests = app.definition.log_inputs != "none"
        self._logs_inputs = app.definition.log_inputs == "full"
        self._learns = app.learns
        self._epoch = -1
        self._serving: Serving = {}
        self._on_trial: dict[str, ModelRoute] = {}
        self._available: tuple[str, ...] = ()
        self._look_around()

    def submit(self, query: Query, on_answer: Callable[[Answer], None]) -> Ticket:
        """See `clipper.engine.engine.Engine.submit`."""
        app = self.app
        slo_s = app.slo_s
        if query.timeout_ms is not None:
            slo_s = min(slo_s, query.timeout_ms / 1e3)
        ticket = self.ticket_class(query, query.arrived_s + slo_s, self._on_result, on_answer, app)
        ticket.distribution = ticket.fallback = None
        ticket.user = "shared"
        if self._fleet.epoch != self._epoch:
            self._look_around()
        uid = query.uid
        if query.version is not None or not self._serving:
            self._refuse(ticket)
        elif uid is None:
            self._ask(ticket, self.contexts.shared())
        else:
            self._ask_for_user(ticket, uid)
        return ticket

    @abstractmethod
    def _ask(self, ticket: T, distribution: Distribution) -> None:
        """Ask one model, or all, by what is known in the query's context."""

    def _on_result(self, ticket: T) -> None:
        """What the call came to that the ticket itself is, where one model is asked."""

    def _ask_for_user(self, ticket: T, uid: str) -> None:
        distribution = self.contexts.distribution(uid)
        if distribution is not None:
            ticket.user = "user"
            self._ask(ticket, distribution)
            return
        loading = self.selection.loading
        proceed = partial(self._proceed, ticket, uid)
        if loading is None:
            proceed()
        else:
            share_s = (ticket.deadline_s - ticket.submitted_s) * USER_WAIT_SHARE
            until_s = ticket.submitted_s + min(share_s, MAX_USER_WAIT_S)
            loading.wait(self.contexts.context_of(uid), until_s, proceed)

    def _proceed(self, ticket: T, uid: str) -> None:
        """The user is read, or could not be in time."""
        if ticket.resolved:
            return
        if self._fleet.epoch != self._epoch:
            self._look_around()
        if not self._serving:
            self._refuse(ticket)
            return
        distribution = self.contexts.distribution(uid)
        ticket.user = "user"
        if distribution is None:
            self.metrics.unknown_users += 1
            ticket.user = "unknown_user"
            distribution = self.contexts.shared()
        self._ask(ticket, distribution)

    def _refuse(self, ticket: T) -> None:
        app = self.app
        error: ClipperError
        if ticket.query.version is not None:
            error = InvalidRequest(
                f"'version' can be forced under the policy 'single' only; application '{app.name}' has "
                f"'{app.policy_name}'."
            )
        elif not app.routes:
            error = NoModelReady(f"Application '{app.name}' has no linked model; link one first.", retry_after_s=1.0)
        else:
            error = NoModelReady(
                f"No model of application '{app.name}' has a version that is ready to serve.", retry_after_s=1.0
            )
        answer = self._failed(error)
        answer.models = ()
        self._conclude(ticket, answer)

    def _failed(self, error: ClipperError) -> Answer:
        """The default if there is one and the error allows it, else the error."""
        default = self.app.default_fragment
        if default is not None and error.http_status in STATUSES_WITH_DEFAULT:
            return Answer("", default, default=True, error=error)
        return Answer("", error=error)

    def _last_resort(self, failed_in: str, distribution: Distribution, arms: Sequence[str]) -> str | None:
        """The arm that answers where the policy cannot say: the best known one; None: the default answers."""
        self.metrics.fallbacks[failed_in] += 1
        best = distribution.best_of(arms)
        return best if best is not None or self.app.default_fragment is not None else arms[0]

    def _look_around(self) -> None:
        """Find out which versions serve now, and which of them can be asked."""
        self._epoch = self._fleet.epoch
        self._serving = serving = arms_of(self.app.policy, self.app.routes)
        self._on_trial = canaries_of(self.app.policy, self.app.routes)
        self.contexts.arms = tuple(serving)
        self._available = tuple(
            arm for arm, version in serving.items() if version is not None and version.has_ready_replica
        )

    def _query_id(
        self,
        ticket: T,
        arms: Sequence[str],
        models: Sequence[str],
        propensities: Sequence[float],
        outputs: Sequence[bytes | None],
        answer: bytes | None,
        default: bool,
        eligible: tuple[str, ...] | None = None,
    ) -> str:
        """An id by which feedback finds all this; empty where the store has not given its key yet.

        The ticket has its ``nonce``, and the outputs are not too many bytes for an id.
        """
        selection, query = self.selection, ticket.query
        key = selection.token_key
        if key is None:
            return ""
        nonce = ticket.nonce
        if answer is not None and len(answer) > MAX_OUTPUT_BYTES:
            selection.outputs.put(nonce, ANSWER, answer)
            answer = None
        if self._logs_inputs:
            selection.outputs.put_input(nonce, query.row)
        claims = Claims(
            self.app.generation,
            selection.wall_clock(),
            nonce,
            query.uid,
            key.input_digest(query.row) if self._logs_digests else b"",
            arms,
            models,
            propensities,
            outputs,
            answer,
            default,
            eligible,
        )
        return key.mint(self.app.name, claims)
