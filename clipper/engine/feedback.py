"""Feedback from a frontend to the store: joined with its query or scored anew, committed, and put into effect."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Final

from clipper.engine.application import ServedApplication
from clipper.engine.arms import arms_of
from clipper.engine.engine import Engine
from clipper.engine.group_commit import RETRY_AFTER_S, GroupCommit
from clipper.engine.joining import asked_afterwards, asked_by, feedback_by_input, feedback_by_query, id_of_update
from clipper.engine.token import Claims, TokenKey
from clipper.engine.update import Update
from clipper.errors import (
    ClipperError,
    DuplicateFeedback,
    InternalError,
    NoModelReady,
    StoreUnavailable,
    UnknownQuery,
)
from clipper.feedback import FeedbackRecord
from clipper.metrics import FeedbackMetrics
from clipper.state.feedback import FeedbackStore

log = logging.getLogger(__name__)

SCORING_TIMEOUT_S: Final = 5.0
"""How long the models may take over an input that feedback came with. Nobody waits for a prediction here."""
JOINED_AT_ONCE: Final = 64
"""So many pieces of one request are joined, and their inputs with the models, together: a long list delays nobody."""

_ID_BYTES: Final = 16
_DAY_S: Final = 86_400.0


class FeedbackService:
    """Takes feedback for the applications of one engine. What it has accepted is committed, and in effect here.

    Args:
        engine: Knows the applications, asks their models about inputs, and holds what was learnt.
        store: Where feedback is committed.
        metrics: Of the way there.
        retention_s: Feedback on older queries is refused: whether it came before may be forgotten by then.
    """

    def __init__(self, engine: Engine, store: FeedbackStore, metrics: FeedbackMetrics, *, retention_s: float) -> None:
        selection = engine.selection
        self._engine = engine
        self._selection = selection
        self._outputs = selection.outputs
        self._now = selection.timers.now
        self._wall_clock = selection.wall_clock
        self._retention_s = retention_s
        self._commits = GroupCommit(store, metrics=metrics, clock=self._now, on_committed=selection.put)

    @property
    def pending(self) -> int:
        """Pieces of feedback that are on their way into the store."""
        return self._commits.pending_records

    async def update(self, application: str, updates: Sequence[Update]) -> list[ClipperError | None]:
        """What came of each of the ``updates``: None where it is committed, else why it is not.

        They are committed together or not at all. Whoever is cancelled takes back what is not on its way to the store.

        Raises:
            UnknownApplication: There is none of that name.
            StoreUnavailable, ShuttingDown: None of them is committed, or not known to be.
        """
        app = self._engine.application(application)
        try:
            self._commits.check_room(len(updates))
            joined = await self._join(app, updates)
            records = [record for record in joined if isinstance(record, FeedbackRecord)]
            accepted = iter(await self._commits.commit(records) if records else ())
        except ClipperError as failure:
            app.metrics.feedback[failure.code] += len(updates)
            raise
        outcomes = [
            one if isinstance(one, ClipperError) else self._committed(app, update, one, is_new=next(accepted))
            for update, one in zip(updates, joined, strict=True)
        ]
        app.metrics.feedback.update("accepted" if error is None else error.code for error in outcomes)
        return outcomes

    async def close(self, within_s: float) -> None:
        """Take nothing new, and commit what was taken, if the store does it within that time."""
        await self._commits.close(within_s)

    async def _join(self, app: ServedApplication, updates: Sequence[Update]) -> list[FeedbackRecord | ClipperError]:
        if len(updates) == 1:
            return [await self._joined(app, updates[0])]
        joined: list[FeedbackRecord | ClipperError] = []
        for start in range(0, len(updates), JOINED_AT_ONCE):
            some = updates[start : start + JOINED_AT_ONCE]
            joined += await asyncio.gather(*(self._joined(app, update) for update in some))
        return joined

    async def _joined(self, app: ServedApplication, update: Update) -> FeedbackRecord | ClipperError:
        """The record of one update, or why there is none: what is wrong with it must not cost the others."""
        try:
            return self._by_query(app, update) if update.query_id is not None else await self._by_input(app, update)
        except ClipperError as refusal:
            return refusal
        except Exception:
            log.exception("A piece of feedback for application %s could not be joined.", app.name)
            return InternalError("The server failed to take this feedback; its log has the details.")

    def _by_query(self, app: ServedApplication, update: Update) -> FeedbackRecord:
        claims = self._claims(app, update.query_id or "")
        kept = self._outputs.get(claims.nonce)
        return feedback_by_query(
            app,
            claims,
            asked_by(claims, kept, app.contexts.arms),
            update,
            row=self._outputs.get_input(claims.nonce),
            now=self._wall_clock(),
        )

    def _claims(self, app: ServedApplication, query_id: str) -> Claims:
        """What the query's id says.

        Raises:
            UnknownQuery: It is foreign, altered, too old, or of an application that does not learn.
        """
        if not app.learns:
            raise UnknownQuery(
                f"Application '{app.name}' has the policy '{app.policy_name}', which does not learn, so its query ids "
                "cannot be joined; send the input instead."
            )
        claims = self._key().open(app.name, query_id)
        if claims.generation != app.generation:
            raise UnknownQuery(
                f"The query_id is of an earlier application '{app.name}', which was deleted; send the input instead."
            )
        if claims.answered_at < self._wall_clock() - self._retention_s:
            raise UnknownQuery(
                f"The query was answered more than {self._retention_s / _DAY_S:g} days ago, which is how long feedback "
                "by query_id is taken (feedback_retention_s); send the input instead."
            )
        return claims

    async def _by_input(self, app: ServedApplication, update: Update) -> FeedbackRecord:
        row, named = update.row or b"", update.update_id
        digest = self._key().input_digest(row)
        scores = await self._engine.score_all(app.name, row, self._now() + SCORING_TIMEOUT_S)
        if not any(output for _, output in scores.values()):
            _check_ready(app)
        return feedback_by_input(
            app,
            asked_afterwards(app, scores, update.uid),
            update,
            feedback_id=secrets.token_bytes(_ID_BYTES)
            if named is None
            else id_of_update(app.name, app.generation, named),
            digest=digest,
            now=self._wall_clock(),
        )

    def _key(self) -> TokenKey:
        key = self._selection.token_key
        if key is None:
            raise StoreUnavailable(
                "The store has not given the key of query ids yet; send the feedback again a little later.",
                retry_after_s=RETRY_AFTER_S,
            )
        return key

    def _committed(
        self, app: ServedApplication, update: Update, record: FeedbackRecord, *, is_new: bool | None
    ) -> ClipperError | None:
        """Count what the store has taken, or say that it had it."""
        if record.query_id is not None:
            self._outputs.forget(record.feedback_id)
        if is_new is None:
            return UnknownQuery("The person whose query this was has been erased since; send the input instead.")
        if not is_new:
            which = "on this query" if update.query_id is not None else f"with the update_id {update.update_id!r}"
            return DuplicateFeedback(f"Feedback {which} was accepted before; it counts once.")
        if record.answer_loss is not None:
            app.metrics.loss_sum += record.answer_loss
            app.metrics.loss_count += 1
        for name, loss in zip(record.models, record.losses, strict=True):
            model, _, version = name.partition(":")
            measured = self._engine.fleet.metrics.get((model, version))
            if loss is not None and measured is not None:
                measured.loss_sum += loss
                measured.loss_count += 1
        return None


def _check_ready(app: ServedApplication) -> None:
    """Nothing is known of what the models say. Where none of them can be asked, that will change.

    Raises:
        NoModelReady: It is so.
    """
    serving = arms_of(app.policy, app.routes).values()
    if not any(served is not None and served.has_ready_replica for served in serving):
        raise NoModelReady(
            f"No model of application '{app.name}' is ready to be asked about this input, which feedback by input "
            "needs; send it again later.",
            retry_after_s=RETRY_AFTER_S,
        )
