"""Five models, the best of which breaks and heals: feedback decides who answers.

Run: `make demo`. Draws `demo/selection.png`.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import digits
import msgspec
import report
from feedback import LATEST_S, SHARE, LateFeedback
from load import OpenLoop, Reply
from picture import Errors, draw
from rich.console import Console
from rich.table import Table
from sklearn.base import ClassifierMixin

import clipper
from clipper.evaluation import History
from clipper.feedback import FeedbackRecord
from clipper.selection import policy_named

QUERIES = 12_000
RATE_QPS = 300.0
BREAKS_AT = 4_000
HEALS_AT = 7_000
SLO_MS = 50.0
DEFAULT_OUTPUT = -1
PHASES = {"before": (1_000, BREAKS_AT), "while it is broken": (BREAKS_AT, HEALS_AT), "after": (HEALS_AT, QUERIES)}
"""The first queries, while nothing is learnt yet, are left out of "before"."""
PICTURE = Path(__file__).parent / "selection.png"

out = Console() if sys.stdout.isatty() else Console(width=130)


def reader(estimator: ClassifierMixin, broken: Path) -> Callable[[Any], list[int]]:
    """A model that reads digits; while the file ``broken`` exists it is one off, as with a broken camera."""

    def predict(rows: Any) -> list[int]:
        labels = estimator.predict(rows)
        if broken.exists():
            labels = (labels + 1) % 10
        return [int(label) for label in labels]

    return predict


def main() -> int:
    out.rule("Clipper demo: five models, and feedback that decides")
    data = digits.load()
    trained = digits.train(data, list(digits.ESTIMATORS))
    names = {model.name.replace(" ", "-").lower(): model for model in trained}
    best = list(names)[-1]
    with tempfile.TemporaryDirectory(prefix="clipper-demo-") as scratch, clipper.local() as connection:
        broken = Path(scratch) / "broken"
        for name, model in names.items():
            out.print(f"Deploying {name:<24} {model.accuracy:.1%} right on digits that it was not trained on")
            switch = broken if name == best else Path(scratch) / "never"
            # Answers that change must not be cached.
            connection.deploy_model(
                name, 1, reader(model.estimator, switch), input_type="doubles", caching={"enabled": False}
            )
        policies = {"best-fixed": ("single", [best]), "exp3": ("exp3", list(names)), "exp4": ("exp4", list(names))}
        for application, (policy, models) in policies.items():
            connection.register_application(
                application,
                input_type="doubles",
                slo_ms=SLO_MS,
                default_output=DEFAULT_OUTPUT,
                policy=policy,
                models=models,
            )
        story = Story(data, list(policies), broken)
        asyncio.run(story.tell(connection))
        histories = {app: history(connection, app) for app in ("exp3", "exp4")}
    draw(PICTURE, story.errors(), histories, story.started_at, (BREAKS_AT / RATE_QPS, HEALS_AT / RATE_QPS))
    return story.report(best)


def history(connection: clipper.Connection, application: str) -> History:
    """How the weights went, from the log of feedback."""
    info = connection.get_app_info(application)
    rebuilt = History(policy_named(info["policy"]["name"], info["policy"]["options"]), info["models"])
    for record in connection.read_feedback(application):
        rebuilt.add(msgspec.convert(record, FeedbackRecord))
    return rebuilt


class Story:
    """The same digits for every application, and what comes back."""

    def __init__(self, data: digits.Digits, applications: Sequence[str], broken: Path) -> None:
        rows, self.labels = digits.queries(data, QUERIES, repeated=False)
        self._bodies = [json.dumps({"input": row.tolist()}).encode() for row in rows]
        self._broken = broken
        self.replies: dict[str, list[Reply]] = {application: [] for application in applications}
        self.feedback: dict[str, LateFeedback] = {}
        self.started_at = 0.0

    async def tell(self, connection: clipper.Connection) -> None:
        """Send everything; the best model breaks and heals on the way."""
        out.print(
            f"\nSending {QUERIES:,} digits to each of {len(self.replies)} applications, {RATE_QPS:,.0f} a second; "
            f"{SHARE:.0%} of the answers get their label, up to {LATEST_S:g} s late ..."
        )
        session = connection.session
        async with clipper.connect_async(session.admin_url, session.token, session.query_url) as feedback_connection:
            loads = [self._load(feedback_connection, application) for application in self.replies]
            # A garbage collection over scikit-learn's modules would stop the client for a tenth of a second.
            gc.collect()
            gc.freeze()
            self.started_at = time.time()
            posting = [asyncio.create_task(feedback.run()) for feedback in self.feedback.values()]
            async with asyncio.TaskGroup() as tasks:
                for load in loads:
                    tasks.create_task(load.run())
                await loads[0].reached(BREAKS_AT)
                self._broken.touch()
                out.print(f"query {loads[0].sent:,}: the best model breaks")
                await loads[0].reached(HEALS_AT)
                self._broken.unlink()
                out.print(f"query {loads[0].sent:,}: it is whole again\n")
            for task in posting:
                task.cancel()
            await asyncio.gather(*posting, return_exceptions=True)
            for feedback in self.feedback.values():
                await feedback.finish()

    def _load(self, connection: clipper.AsyncConnection, application: str) -> OpenLoop:
        session = connection.session
        load = OpenLoop(f"{session.query_url}/{application}/predict", self._bodies, RATE_QPS)
        replies = self.replies[application]
        load.on_reply = replies.append
        if application != "best-fixed":
            feedback = self.feedback[application] = LateFeedback(connection, application, self.labels, seed=digits.SEED)

            def on_reply(reply: Reply) -> None:
                replies.append(reply)
                feedback.about(reply)

            load.on_reply = on_reply
        return load

    def errors(self) -> Errors:
        """For each application: when each query was due, in seconds, and whether its answer was wrong."""
        found = {}
        for application, replies in self.replies.items():
            ordered = sorted(replies)
            due_s = [reply.index / RATE_QPS for reply in ordered]
            found[application] = (due_s, [float(reply.output != self.labels[reply.index]) for reply in ordered])
        return found

    def report(self, best: str) -> int:
        """Print what happened; returns the exit status, 0 if no answer was lost and feedback was worth it."""
        table = Table(title="Right answers", title_justify="left", title_style="bold", header_style="bold")
        table.add_column("application", no_wrap=True)
        for column in (*PHASES, "all", "defaults", "lost", "labels"):
            table.add_column(column, justify="right")
        for application, replies in self.replies.items():
            labels = self.feedback[application].accepted if application in self.feedback else 0
            table.add_row(
                f"best-fixed ({best})" if application == "best-fixed" else application,
                *(f"{self._accuracy(replies, *bounds):.1%}" for bounds in (*PHASES.values(), (0, QUERIES))),
                str(sum(reply.default_code is not None for reply in replies)),
                str(report.lost(replies, QUERIES)),
                f"{labels:,}",
            )
        out.print(table)
        out.print(f"Weights and error over time: {PICTURE}")
        return 0 if all(report.lost(replies, QUERIES) == 0 for replies in self.replies.values()) else 1

    def _accuracy(self, replies: Sequence[Reply], first: int, end: int) -> float:
        return report.accuracy([reply for reply in replies if first <= reply.index < end], self.labels)


if __name__ == "__main__":
    sys.exit(main())
