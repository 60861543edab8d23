"""Feedback: what the right answers were, what came of telling, and the log of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from clipper.client.feedback import Rejected, UpdateResult
from clipper.client.operations.queries import grpc_address, post
from clipper.client.paths import path
from clipper.client.steps import Call, Request, Session, Steps
from clipper.errors import BadRequest, DuplicateFeedback, from_json
from clipper.json_encoding import encode


def update(  # noqa: D417 (the connection passes itself)
    session: Session,
    app: str,
    *,
    label: Any,
    query_id: str | None = None,
    input: Any = None,  # noqa: A002 (the name of the field, everywhere)
    uid: str | None = None,
    update_id: str | None = None,
) -> Steps[int]:
    """Tell an application what the answer should have been; by the query's id, or by its input.

    It is committed when this returns, and counts once.

    Args:
        app: The application's name.
        label: What was right: a value that can be compared with the outputs.
        query_id: Of the prediction that the label is for.
        input: Instead of a query_id: the input, about which all models of the application are asked now.
        uid: Whose input it was.
        update_id: A name of yours for feedback by input; the same one counts once.

    Returns:
        How many pieces of feedback were accepted.

    Raises:
        UnknownApplication: There is no such application.
        DuplicateFeedback: This feedback was given already.
        UnknownQuery: The query_id is too old, foreign or unknown; send the input instead.
        InvalidLabel: The label cannot be compared with the outputs.
        StoreUnavailable: It cannot be committed now; try again.
    """
    optional = {"query_id": query_id, "input": input, "uid": uid, "update_id": update_id}
    fields = {key: value for key, value in optional.items() if value is not None} | {"label": label}
    # Sent again, feedback with a name of its own cannot count twice.
    repeatable = query_id is not None or update_id is not None
    if session.protocol == "grpc":
        return (yield from _update_by_grpc(session, app, fields, repeatable))
    reply = yield from post(session, app, "update", encode(fields), repeatable=repeatable)
    try:
        return int(reply.json()["accepted"])
    except DuplicateFeedback:
        if not reply.repeated:
            raise
        return 1  # the first sending was committed, and only its acknowledgement was lost


def update_many(  # noqa: D417 (the connection passes itself)
    session: Session, app: str, updates: Iterable[Mapping[str, Any]]
) -> Steps[UpdateResult]:
    """Tell an application many answers at once; each is accepted or rejected by itself.

    Args:
        app: The application's name.
        updates: Dicts with the arguments of `update`: ``{"query_id": ..., "label": ...}``.

    Raises:
        UnknownApplication: There is no such application.
        StoreUnavailable: None of them can be committed now; try again.
    """
    if session.protocol == "grpc":
        return (yield from _update_many_by_grpc(session, app, updates))
    reply = yield from post(
        session, app, "update", encode({"updates": [dict(one) for one in updates]}), repeatable=False
    )
    body = reply.json()
    rejected = tuple(Rejected(one["index"], from_json(None, one)) for one in body.get("rejected", ()))
    return UpdateResult(int(body["accepted"]), rejected)


def _update_by_grpc(session: Session, app: str, fields: Mapping[str, Any], repeatable: bool) -> Steps[int]:
    from clipper.client import messages  # noqa: PLC0415  # gRPC is not imported by programs that do not use it

    request = messages.update_request(app, [messages.feedback(fields)])
    yield from grpc_address(session)
    called = yield Call("Update", request, repeatable=repeatable)
    for rejected in messages.rejected(called.message):
        if not (called.repeated and isinstance(rejected.error, DuplicateFeedback)):
            raise rejected.error
    return 1


def _update_many_by_grpc(session: Session, app: str, updates: Iterable[Mapping[str, Any]]) -> Steps[UpdateResult]:
    """What no message can be is rejected here, as the server rejects it by REST."""
    from clipper.client import messages  # noqa: PLC0415  # as above

    sent, places, rejected = [], [], []
    for i, fields in enumerate(updates):
        try:
            sent.append(messages.feedback(fields, f"updates[{i}]."))
            places.append(i)
        except BadRequest as error:
            rejected.append(Rejected(i, error))
    if rejected and not sent:
        return UpdateResult(0, tuple(rejected))
    yield from grpc_address(session)
    called = yield Call("Update", messages.update_request(app, sent))
    rejected += [Rejected(places[one.index], one.error) for one in messages.rejected(called.message)]
    return UpdateResult(called.message.accepted, tuple(sorted(rejected, key=lambda one: one.index)))


def get_feedback(
    _session: Session, app: str, *, since: float | None = None, until: float | None = None, after: int = 0
) -> Steps[dict[str, Any]]:
    """A page of the feedback log, oldest first: ``{"records": [...], "next": after of the next page or None}``.

    Args:
        app: The application's name.
        since: Only what was accepted from then on; in seconds since 1970.
        until: Only what was accepted before.
        after: Where to go on.

    Raises:
        UnknownApplication: There is no such application.
    """
    params = {"after": str(after)}
    params |= {name: repr(float(value)) for name, value in (("since", since), ("until", until)) if value is not None}
    reply = yield Request("GET", path("apps", app, "feedback"), params=params, repeatable=True)
    page: dict[str, Any] = reply.json()
    return page


def get_selection(_session: Session, name: str, *, uid: str | None = None) -> Steps[dict[str, Any]]:
    """How the application's policy chooses now: weight and probability of each model, for everyone or one user.

    Raises:
        UnknownApplication: There is no such application.
    """
    params = {} if uid is None else {"uid": uid}
    reply = yield Request("GET", path("apps", name, "selection"), params=params, repeatable=True)
    selection: dict[str, Any] = reply.json()
    return selection


def erase_user(_session: Session, uid: str) -> Steps[int]:
    """Remove a person from what the policies have learnt and from the feedback log, in every application.

    Returns:
        How many records of the log had been theirs.
    """
    reply = yield Request("DELETE", path("users", uid), repeatable=True)
    return int(reply.json()["records"])
