"""Feedback from a body to a reply: the same for both roads."""

import asyncio
from collections.abc import Sequence

import msgspec

from clipper.engine.update import Update
from clipper.errors import ClipperError
from clipper_frontends.rest.lane import Lane, LaneExchange
from clipper_frontends.rest.reply import Reply, reply_of_error
from clipper_frontends.rest.update_body import decode_updates

_ACCEPTED_ONE = Reply(200, b'{"accepted":1}')


async def reply_to_update(lane: Lane, application: str, body: bytes) -> Reply:
    """What comes of a request that is here in full. Cancelled, it takes back nothing that is being committed."""
    try:
        asked = decode_updates(body, lane.engine.application(application), lane.reader)
    except Exception as error:  # noqa: BLE001  # nobody awaits it who could do better: the caller gets a sentence, the log the rest
        return lane.refusal(error)
    try:
        if isinstance(asked, Update):
            (refused,) = await lane.feedback.update(application, [asked])
            return _ACCEPTED_ONE if refused is None else reply_of_error(refused)
        return _reply_to_list(await _updated(lane, application, asked))
    except ClipperError as error:
        return reply_of_error(error)  # counted where it was raised
    except Exception as error:  # noqa: BLE001  # as above
        return lane.refusal(error)


async def _updated(
    lane: Lane, application: str, asked: Sequence[Update | ClipperError]
) -> Sequence[ClipperError | None]:
    """What came of each element."""
    good = [update for update in asked if isinstance(update, Update)]
    outcomes = iter(await lane.feedback.update(application, good) if good else ())
    return [next(outcomes) if isinstance(update, Update) else update for update in asked]


def _reply_to_list(outcomes: Sequence[ClipperError | None]) -> Reply:
    rejected = [{"index": i, **error.to_json()} for i, error in enumerate(outcomes) if error is not None]
    body = {"accepted": len(outcomes) - len(rejected)} | ({"rejected": rejected} if rejected else {})
    return Reply(200, msgspec.json.encode(body))


class UpdateExchange(LaneExchange):
    """One request with feedback on the fast lane. FastAPI's road would cost more than everything else together."""

    _task: asyncio.Task[Reply] | None = None

    def ask(self, body: bytes) -> None:
        """Hand the feedback on."""
        self._task = asyncio.get_running_loop().create_task(reply_to_update(self._lane, self._route.application, body))
        self._task.add_done_callback(self._on_reply)

    def abandon(self) -> None:
        """The client is gone: nothing more is done for it; what is being committed stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _on_reply(self, task: asyncio.Task[Reply]) -> None:
        self._task = None
        if not task.cancelled():
            self.answer(task.result())
