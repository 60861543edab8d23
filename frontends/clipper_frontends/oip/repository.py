"""The repository extension: which versions of models there are, and starting and stopping them.

Looking is for everybody who may ask for predictions. Loading and unloading change what is served for all of them, on a
port that is open to backends: they need the admin token, unless the server is told to go without.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from clipper.engine.engine import Engine
from clipper.errors import Forbidden, InvalidRequest, Unauthenticated
from clipper.inputs import shown

READY, LOADING, UNLOADING, UNAVAILABLE = "READY", "LOADING", "UNLOADING", "UNAVAILABLE"
_STATE_OF: Mapping[str, str] = {
    "registered": LOADING,
    "starting": LOADING,
    "warming": LOADING,
    "ready": LOADING,  # the controller saw a replica that this frontend has not connected to yet
    "draining": UNLOADING,
    "stopped": UNAVAILABLE,
    "failed": UNAVAILABLE,
}
_UNDERSTOOD = frozenset({"version", "unload_dependents"})
"""Nothing here depends on a model: an application without one answers with its default, or that none is ready."""

Action = Literal["load", "unload"]


class Change(msgspec.Struct, frozen=True):
    """What is asked of the repository, and by whom.

    Attributes:
        action: What to do.
        model: The model's name.
        version: The version's; None: the usual one for loading, all of them for unloading.
        authorization: The header, or the entry of the call's metadata, of that name; empty: none came.
        from_page: Whether a web page in somebody's browser asks.
    """

    action: Action
    model: str
    version: str | None = None
    authorization: str = ""
    from_page: bool = False


class Repository(Protocol):
    """Who carries changes out."""

    async def carry_out(self, change: Change) -> None:
        """Returns when every frontend of the server serves as the change says. Cancelled, the change goes on.

        Raises:
            Unauthenticated, Forbidden: The caller may not.
            ClipperError: It cannot be done, or is not done in time.
        """
        ...


class IndexEntry(NamedTuple):
    """One version in the repository's index; ``reason`` is empty where there is nothing to explain."""

    name: str
    version: str
    state: str
    reason: str


def repository_index(engine: Engine, *, only_ready: bool) -> list[IndexEntry]:
    """The versions of all models, by name, as this frontend sees them."""
    entries = [
        _entry(engine, model, version)
        for model, versions in sorted(engine.snapshot.desired.versions.items())
        for version in versions
    ]
    return [entry for entry in entries if not only_ready or entry.state == READY]


def _entry(engine: Engine, model: str, version: str) -> IndexEntry:
    served = engine.fleet.versions.get((model, version))
    if served is not None and served.has_ready_replica:
        return IndexEntry(model, version, READY, "")
    status = engine.snapshot.observed.statuses.get(model, {}).get(version)
    if status is None:
        return IndexEntry(model, version, LOADING, "")
    state = _STATE_OF[status.state]
    return IndexEntry(model, version, state, status.reason or ("It is stopped." if status.state == "stopped" else ""))


def change_of(
    action: Action, model: str, parameters: Mapping[str, Any], *, authorization: str, from_page: bool = False
) -> Change:
    """The change that a request asks for.

    Args:
        action: What to do.
        model: The model's name.
        parameters: Of the request, by name.
        authorization: As of `Change`.
        from_page: The same.

    Raises:
        InvalidRequest: It would bring a model along, or its version is none.
    """
    for name in parameters:
        if name not in _UNDERSTOOD:
            raise InvalidRequest(
                f"The parameter '{name}' is not served; models are loaded as they were deployed (clipper deploy), "
                "perhaps with a 'version'."
            )
    version = parameters.get("version")
    if version is not None and (not isinstance(version, str) or not version):
        raise InvalidRequest(f"The parameter 'version' must be the name of a version, got {shown(version)}.")
    return Change(action, model, version, authorization, from_page)


def check_access(change: Change, token: str | None, *, is_open: bool) -> None:
    """Whether the caller may have the change.

    Args:
        change: What is asked.
        token: The administrator's, if there is one.
        is_open: Whether it goes without. A web page still may not: any page that a user visits could ask.

    Raises:
        Unauthenticated: A token is asked for, and none came.
        Forbidden: It is another one, or there is none that would do.
    """
    scheme, _, given = change.authorization.partition(" ")
    given = given.strip() if scheme.lower() == "bearer" else ""
    if token is not None and given and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return
    if is_open:
        if change.from_page:
            raise Forbidden("Web pages may not load or unload models.")
        return
    if token is None:
        raise Forbidden(
            "Models are not loaded and unloaded over the port for queries; use the admin port (clipper promote, "
            "clipper stop), or start the server with CLIPPER_ADMIN_TOKEN and send it as 'Authorization: Bearer ...', "
            "or with CLIPPER_OIP_REPOSITORY=open."
        )
    if not given:
        raise Unauthenticated(
            "Loading and unloading models asks for the admin token: 'Authorization: Bearer ...' (CLIPPER_ADMIN_TOKEN)."
        )
    raise Forbidden("The token is not the administrator's.")
