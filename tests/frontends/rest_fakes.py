"""A hand-written engine at the seam between the frontends and the engine."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.update import Update
from clipper.errors import ClipperError, UnknownApplication
from clipper.inputs import decode_input
from clipper_frontends.oip.repository import Change


@dataclass
class FakeApplication:
    name: str = "digits"
    input_type: str = "doubles"
    input_width: int | None = None
    layout: None = None
    outputs: tuple[()] = ()
    policy_name: str = "single"
    slo_s: float = 1.0
    learns: bool = False


@dataclass(eq=False)
class FakeTicket:
    query: Query
    on_answer: Callable[[Answer], None]
    query_id: str


@dataclass
class FakeEngine:
    """Answers with its input; ``when`` is "now" (inside submit), "soon" (from the loop) or "held" (by `release`)."""

    when: str = "now"
    applications: dict[str, FakeApplication] = field(default_factory=lambda: {"digits": FakeApplication()})
    models: dict[str, FakeApplication] = field(default_factory=dict)
    readiness: tuple[bool, str] = (True, "Ready.")
    draining: bool = False
    error: ClipperError | None = None
    default: bytes | None = None
    submitted: list[Query] = field(default_factory=list)
    cancelled: list[FakeTicket] = field(default_factory=list)
    waiting: list[FakeTicket] = field(default_factory=list)

    def application(self, name: str) -> FakeApplication:
        try:
            return self.applications[name]
        except KeyError:
            raise UnknownApplication(f"There is no application '{name}'.") from None

    def submit(self, query: Query, on_answer: Callable[[Answer], None]) -> FakeTicket:
        ticket = FakeTicket(query, on_answer, f"q{len(self.submitted)}")
        self.submitted.append(query)
        if self.when == "now":
            on_answer(self.answer_to(ticket))
            return ticket
        self.waiting.append(ticket)
        if self.when == "soon":
            asyncio.get_running_loop().call_soon(self.release, ticket)
        return ticket

    async def predict(self, query: Query) -> Answer:
        answered = asyncio.get_running_loop().create_future()
        ticket = self.submit(query, answered.set_result)
        try:
            return await answered
        finally:
            self.cancel(ticket)

    def cancel(self, ticket: FakeTicket) -> None:
        if ticket in self.waiting:
            self.waiting.remove(ticket)
            self.cancelled.append(ticket)

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def release(self, ticket: FakeTicket) -> None:
        if ticket in self.waiting:
            self.waiting.remove(ticket)
            ticket.on_answer(self.answer_to(ticket))

    def release_all(self, *, last_first: bool = False) -> None:
        for ticket in reversed(self.waiting.copy()) if last_first else self.waiting.copy():
            self.release(ticket)

    def answer_to(self, ticket: FakeTicket) -> Answer:
        if self.error is not None:
            return Answer(ticket.query_id, self.default, default=self.default is not None, error=self.error)
        value = decode_input(self.applications[ticket.query.application].input_type, ticket.query.row)
        return Answer(
            ticket.query_id, json.dumps(value.decode("latin-1") if isinstance(value, bytes) else value).encode()
        )


@dataclass
class FakeFeedback:
    """Accepts everything; ``outcome`` says what else comes of an update, ``gate`` when, ``failure`` what is raised."""

    taken: list[tuple[str, Update]] = field(default_factory=list)
    outcome: Callable[[Update], ClipperError | None] = lambda _update: None
    failure: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def update(self, application: str, updates: Sequence[Update]) -> list[ClipperError | None]:
        self.taken += [(application, update) for update in updates]
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return [self.outcome(update) for update in updates]


@dataclass
class FakeRepository:
    """Remembers what it was asked for; ``failure`` is what comes of it."""

    asked: list[Change] = field(default_factory=list)
    failure: Exception | None = None

    async def carry_out(self, change: Change) -> None:
        self.asked.append(change)
        if self.failure is not None:
            raise self.failure
