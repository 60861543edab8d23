"""The engine: a query comes in, the policy chooses, the abstraction layer answers, the caller gets one answer."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.domain import Application, Query, Snapshot
from clipper.engine.answer import STATUSES_WITH_DEFAULT, Answer
from clipper.engine.application import ServedApplication
from clipper.engine.bandit import Bandit
from clipper.engine.ensemble import Ensemble
from clipper.engine.explain import explanation
from clipper.engine.fleet import Fleet
from clipper.engine.scoring import Scores, Scoring
from clipper.engine.selection import Selection
from clipper.engine.ticket import Ticket
from clipper.errors import ClipperError, NoModelReady, UnknownApplication, UnknownModel
from clipper.metrics import ApplicationMetrics
from clipper.selection.single import Single

log = logging.getLogger(__name__)

DEFAULT_MODEL_SLO_S = 1.0


def key_of_model(name: str) -> str:
    """What a query calls its application when it asks a model itself; no application can have this name."""
    return f"model:{name}"


class Engine:
    """Serves the applications of the last applied snapshot. Not thread-safe: everything happens on one event loop.

    ``submit`` is the primitive: no future, no task, one callback. A query resolves exactly once: answered (with the
    output, the default or an error) or cancelled by its caller.
    """

    def __init__(self, fleet: Fleet, selection: Selection, *, model_slo_s: float = DEFAULT_MODEL_SLO_S) -> None:
        self.fleet = fleet
        self._model_slo_s = model_slo_s
        self.selection = selection
        self._clock = selection.timers.now
        self._applications: dict[str, ServedApplication] = {}
        self._models: dict[str, ServedApplication] = {}
        self._id_prefix = secrets.token_hex(4)
        self._submitted = 0
        self._resolved = 0
        self.revision: int | None = None
        self.snapshot = Snapshot()
        self.draining = False

    @property
    def cache(self) -> PredictionCache:
        """The prediction cache that all versions share."""
        return self.fleet.cache

    @property
    def applications(self) -> Mapping[str, ServedApplication]:
        """What is served, by name."""
        return self._applications

    @property
    def models(self) -> Mapping[str, ServedApplication]:
        """An application for each model alone, by `key_of_model`, for those who ask a model and no application."""
        return self._models

    def application(self, name: str) -> ServedApplication:
        """The application of that name.

        Raises:
            UnknownApplication: There is none.
        """
        try:
            return self._applications[name]
        except KeyError:
            raise _unknown(name) from None

    def apply(self, snapshot: Snapshot) -> None:
        """Serve what the snapshot says from now on. What is under way keeps its deadline and its version."""
        self.fleet.apply(snapshot, self.selection.chance)
        served: dict[str, ServedApplication] = {}
        for name, definition in snapshot.desired.applications.items():
            try:
                served[name] = self._serve(definition, snapshot.desired.generations.get(name, 0))
            except ClipperError as problem:
                # Written by a server that knows more than this one; the others must be served all the same.
                log.error("Application %s cannot be served here: %s", name, problem)  # noqa: TRY400  # a sentence is enough
        self._applications = served
        self._models = {key_of_model(app.name): app for app in map(self._serve_model, _models_of(snapshot))}
        self.selection.serve((app.name, app.generation) for app in served.values())
        self.fleet.set_slos(app.definition for app in served.values())
        self.revision = snapshot.revision
        self.snapshot = snapshot

    def _serve(self, definition: Application, generation: int) -> ServedApplication:
        before = self._applications.get(definition.name)
        if before is not None and (before.definition, before.generation) == (definition, generation):
            return before
        routes = {model: self.fleet.route(model) for model in definition.models}
        metrics = before.metrics if before else ApplicationMetrics()
        app = ServedApplication(definition, generation, routes, metrics, self.selection)
        if app.policy_name != Single.name:
            kind = Ensemble if app.policy.is_ensemble else Bandit
            app.choosing = kind(app, self.fleet, self.selection, self._conclude)
        return app

    def _serve_model(self, definition: Application) -> ServedApplication:
        definition = definition.model_copy(update={"slo_ms": self._model_slo_s * 1e3})
        before = self._models.get(key_of_model(definition.name))
        route = self.fleet.route(definition.name)
        if before is not None and before.definition == definition and before.routes[definition.name] is route:
            return before
        metrics = before.metrics if before else ApplicationMetrics()
        return ServedApplication(definition, 0, {definition.name: route}, metrics, self.selection)

    def submit(self, query: Query, on_answer: Callable[[Answer], None]) -> Ticket:
        """Answer ``query`` through ``on_answer``, exactly once, by its deadline, perhaps before this returns.

        ``on_answer`` never runs after `cancel`. It gets an error inside the answer, never an exception.
        """
        self._submitted += 1
        app = self._applications.get(query.application)
        if app is None and (app := self._models.get(query.application)) is None:
            return self._answer_unknown(query, on_answer)
        if app.choosing is not None:
            return app.choosing.submit(query, on_answer)
        slo_s = app.slo_s
        if query.timeout_ms is not None:
            slo_s = min(slo_s, query.timeout_ms / 1e3)
        ticket = Ticket(query, query.arrived_s + slo_s, self._on_result, on_answer, app)
        try:
            served = self._choose(app, query.version, query.uid)
        except ClipperError as refusal:
            ticket.error = refusal
            self._on_result(ticket)
            return ticket
        ticket.served = served
        served.submit(ticket)
        return ticket

    def _choose(self, app: ServedApplication, version: str | None, uid: str | None) -> ServedVersion:
        if app.model is None:
            raise NoModelReady(f"Application '{app.name}' has no linked model; link one first.", retry_after_s=1.0)
        if version is not None:
            return self.fleet.version(app.model, version)
        route = app.routes[app.model]
        served = route.only or route.pick(uid)
        if served is None:
            raise NoModelReady(
                f"Model '{app.model}' of application '{app.name}' has no version that is ready to serve.",
                retry_after_s=1.0,
            )
        return served

    def _on_result(self, ticket: Ticket) -> None:
        ticket.resolved = True
        self._resolved += 1
        app = ticket.app
        assert app is not None  # noqa: S101  # a ticket without an application was resolved when it was made
        query = ticket.query
        error = ticket.error
        answer = Answer(f"{self._id_prefix}-{self._resolved:x}", ticket.output, error=error)
        metrics = app.metrics
        if error is not None:
            if app.default_fragment is not None and error.http_status in STATUSES_WITH_DEFAULT:
                answer.output = app.default_fragment
                answer.default = True
            metrics.unanswered["default" if answer.default else "error", error.code] += 1
        now_s = self._clock()
        metrics.latency_s.observe(now_s - query.arrived_s)
        if query.explain:
            answer.explanation = explanation(ticket, now_s)
        try:
            ticket.on_answer(answer)
        except Exception:
            # A frontend that fails to deliver must not harm the other queries of the same batch.
            log.exception("The frontend failed to deliver an answer of application %s.", app.name)

    def _conclude(self, ticket: Ticket, answer: Answer) -> None:
        """Deliver what a policy made of a query."""
        ticket.resolved = True
        self._resolved += 1
        app, query, error = ticket.app, ticket.query, answer.error
        assert app is not None  # noqa: S101  # it has chosen
        answer.query_id = answer.query_id or f"{self._id_prefix}-{self._resolved:x}"
        if error is not None:
            app.metrics.unanswered["default" if answer.default else "error", error.code] += 1
        app.metrics.latency_s.observe(self._clock() - query.arrived_s)
        try:
            ticket.on_answer(answer)
        except Exception:
            log.exception("The frontend failed to deliver an answer of application %s.", app.name)

    def _answer_unknown(self, query: Query, on_answer: Callable[[Answer], None]) -> Ticket:
        """The application went between the decoding of a request and here."""
        ticket = Ticket(query, query.arrived_s, self._on_result, on_answer, None)
        ticket.resolved = True
        self._resolved += 1
        on_answer(Answer(f"{self._id_prefix}-{self._resolved:x}", error=_unknown(query.application)))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """The caller is gone: nothing is answered any more, and what nobody else waits for is not executed."""
        if ticket.resolved:
            return
        ticket.resolved = True
        self._resolved += 1
        if ticket.app is not None:
            ticket.app.metrics.unanswered["cancelled", ""] += 1
        ticket.withdraw()

    async def score_all(self, application: str, row: bytes, deadline_s: float) -> Scores:
        """What every model of the application says to an input by then, for feedback that came with it.

        Raises:
            UnknownApplication: There is none of that name.
        """
        return await Scoring(self.application(application), row, now_s=self._clock(), deadline_s=deadline_s).scores()

    async def predict(self, query: Query) -> Answer:
        """`submit` for those who can await. Cancelling the awaiting task cancels the query."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Answer) -> None:
            if not future.done():  # A cancelled task runs, and cancels its query, only after what is due in this turn.
                future.set_result(answer)

        ticket = self.submit(query, on_answer)
        try:
            return await future
        finally:
            self.cancel(ticket)

    def ready(self) -> tuple[bool, str]:
        """Whether queries are served, and the sentence that says why not."""
        if self.draining:
            return False, "The server is shutting down."
        if self.revision is None:
            return False, "The server has not read its configuration yet."
        for app in self._applications.values():
            for model, route in app.routes.items():
                if route.current is not None and not (route.serving and route.serving.has_ready_replica):
                    return False, f"Model '{model}' of application '{app.name}' has no ready replica."
        return True, "Ready."

    def close(self) -> None:
        """Answer everything that still waits with the reason, and close every link."""
        self.selection.close()
        self.fleet.close()
        self._applications = {}
        self._models = {}

    def leaks(self) -> dict[str, int]:
        """What is alive and should not be when nothing is under way; all zero then."""
        queries = self._submitted - self._resolved
        return {"queries": queries, "late_members": self.selection.late_members, **self.fleet.leaks()}

    def describe(self) -> dict[str, Any]:
        """The versions as this frontend sees them, by 'model:version'."""
        return self.fleet.describe()


def _models_of(snapshot: Snapshot) -> Iterator[Application]:
    """Each model as an application that has no other. The versions of a model take the same inputs."""
    for model, versions in snapshot.desired.versions.items():
        for version in versions.values():
            spec = version.spec
            yield Application(name=model, input_type=spec.input_type, inputs=spec.inputs, slo_ms=1.0, models=(model,))
            break


def _unknown(name: str) -> ClipperError:
    kind, _, model = name.rpartition(":")
    if kind:
        return UnknownModel(f"There is no model '{model}'.")
    return UnknownApplication(f"There is no application '{name}'.")
