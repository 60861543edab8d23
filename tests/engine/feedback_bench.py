"""An application with feedback, on virtual time: fake replicas at one end, a fake store at the other."""

import asyncio
import json
import random
from functools import partial

from engine_bench import EngineBench
from feedback_fakes import FakeFeedbackStore

from clipper.domain import Policy
from clipper.engine.feedback import FeedbackService
from clipper.engine.token import TokenKey
from clipper.engine.update import Update
from clipper.evidence import Evidence
from clipper.feedback import FeedbackRecord
from clipper.metrics import FeedbackMetrics

RETENTION_S = 1000.0
OUTPUTS = {"a": 3, "b": 4, "c": 5}


class FeedbackBench:
    """Three models that always say the same, an application ``app`` over them, and the way of its feedback."""

    def __init__(self, policy="exp3", *, outputs=OUTPUTS, options=None, **application):
        self.bench = EngineBench()
        for model in outputs:
            self.bench.version(model)
        self.bench.application(models=tuple(outputs), policy=Policy(name=policy, options=options or {}), **application)
        self.bench.apply()
        self.answer_with(outputs)
        self.now = 1_000_000.0
        selection = self.bench.engine.selection
        selection.wall_clock = lambda: self.now
        selection.chance = random.Random(0).random
        selection.token_key = TokenKey(b"k" * 32)
        self.store = FakeFeedbackStore()
        self.metrics = FeedbackMetrics()
        self.service = FeedbackService(self.bench.engine, self.store, self.metrics, retention_s=RETENTION_S)

    @property
    def app(self):
        return self.bench.engine.application("app")

    @property
    def records(self) -> list[FeedbackRecord]:
        return list(self.store.records.values())

    @property
    def learnt(self) -> Evidence:
        return self.store.known["app", 0, ""]

    def answer_with(self, outputs):
        for model, output in outputs.items():
            self.link(model).answer = partial(_always, json.dumps(output).encode())

    def link(self, model, version="1"):
        return self.bench.links[f"{model}.{version}.g1.r0"]

    def ask(self, row=b"x", **fields):
        asked = self.bench.ask(row, **fields)
        self.bench.timers.advance(0.2)
        return asked.answer

    async def give(self, *updates: Update, application="app"):
        """What came of the updates: None, or the error's code."""
        task = asyncio.create_task(self.service.update(application, updates))
        while not task.done():
            self.bench.timers.advance(0.01)
            await asyncio.sleep(0)
        return [error and error.code for error in task.result()]


def _always(output, _row):
    return output


def by_query(answer, label=3) -> Update:
    return Update(label=label, query_id=answer.query_id)


def by_input(row=b"x", label=3, **fields) -> Update:
    return Update(label=label, row=row, **fields)
