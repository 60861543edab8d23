"""Clipper serves machine-learning models: selection, batching and caching under one latency objective.

::

    import clipper

    with clipper.local() as cl:                                   # or clipper.connect("http://...:1338")
        cl.deploy_model("svm", 1, fitted_estimator)
        cl.register_application("digits", input_type="doubles", slo_ms=20, default_output=-1, models=["svm"])
        print(cl.predict("digits", x).output)

What is named in ``__all__`` is the public API. It is imported when it is first used, so that ``import clipper`` costs
nothing and the server's parts do not load the client.
"""

import importlib
from typing import TYPE_CHECKING, Any

from clipper_container.version import __version__ as __version__

if TYPE_CHECKING:
    from clipper.client import (
        NO_DEFAULT,
        AsyncConnection,
        Connection,
        DeployProgress,
        Prediction,
        Rejected,
        UpdateResult,
        connect,
        connect_async,
    )
    from clipper.embedded import local, local_async
    from clipper.errors import (
        AlreadyExists,
        BadRequest,
        ClipperError,
        Conflict,
        DeadlineExceeded,
        DeploymentFailed,
        DuplicateFeedback,
        Forbidden,
        InvalidInput,
        InvalidLabel,
        InvalidModel,
        ModelError,
        NoModelReady,
        NotFound,
        Overloaded,
        StoreUnavailable,
        Unauthenticated,
        Unavailable,
        UnknownApplication,
        UnknownModel,
        UnknownQuery,
        UnknownReplica,
        UnknownVersion,
        Unreachable,
    )

__all__ = [
    "NO_DEFAULT",
    "AlreadyExists",
    "AsyncConnection",
    "BadRequest",
    "ClipperError",
    "Conflict",
    "Connection",
    "DeadlineExceeded",
    "DeployProgress",
    "DeploymentFailed",
    "DuplicateFeedback",
    "Forbidden",
    "InvalidInput",
    "InvalidLabel",
    "InvalidModel",
    "ModelError",
    "NoModelReady",
    "NotFound",
    "Overloaded",
    "Prediction",
    "Rejected",
    "StoreUnavailable",
    "Unauthenticated",
    "Unavailable",
    "UnknownApplication",
    "UnknownModel",
    "UnknownQuery",
    "UnknownReplica",
    "UnknownVersion",
    "Unreachable",
    "UpdateResult",
    "__version__",
    "connect",
    "connect_async",
    "local",
    "local_async",
]

_CLIENT = {
    "NO_DEFAULT",
    "AsyncConnection",
    "Connection",
    "DeployProgress",
    "Prediction",
    "Rejected",
    "UpdateResult",
    "connect",
    "connect_async",
}
_EMBEDDED = {"local", "local_async"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'clipper' has no attribute '{name}'")
    home = "clipper.client" if name in _CLIENT else "clipper.embedded" if name in _EMBEDDED else "clipper.errors"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
