"""Every error that leaves the process, in one tree.

::

    ClipperError
    ├── BadRequest (400)      InvalidJson, InvalidInput, InvalidRequest, InvalidLabel, InputTypeMismatch, InvalidModel
    ├── Unauthenticated (401), Forbidden (403)
    ├── NotFound (404)        UnknownApplication, UnknownModel, UnknownVersion, UnknownReplica, UnknownArtifact
    ├── MethodNotAllowed (405), RequestTimeout (408)
    ├── Conflict (409)        AlreadyExists, PolicyTakesOneModel, StillInUse
    ├── TooLarge (413), UnsupportedMediaType (415), HeadersTooLarge (431)
    ├── Overloaded (429)
    ├── Cancelled (499)
    ├── ModelError (500), PolicyFailed (500), LowConfidence (500), InternalError (500)
    ├── Unavailable (503)     NoModelReady, StoreUnavailable, ShuttingDown
    ├── DeadlineExceeded (504)
    └── Unreachable, DeploymentFailed    raised by the client only: no server to answer; a version that came to nothing
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ClipperError(Exception):
    """A failure with a sentence for people, a code for machines and a status for each protocol.

    ``retry_after_s`` is set where waiting helps; the wire has it as ``retry_after_ms``.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s

    def to_json(self) -> dict[str, Any]:
        """The body that every protocol of ours sends for this error."""
        body: dict[str, Any] = {"error": self.message, "code": self.code}
        if self.retry_after_s is not None:
            body["retry_after_ms"] = max(1, round(self.retry_after_s * 1e3))
        return body


class BadRequest(ClipperError):
    """The caller sent something that can never succeed as it is."""

    code = "invalid_request"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class InvalidRequest(BadRequest):
    """A field other than the input is missing, unknown or out of range."""


class InvalidJson(BadRequest):
    """The body is not JSON."""

    code = "invalid_json"


class InvalidInput(BadRequest):
    """The input does not have the type or the width that the application takes."""

    code = "invalid_input"


class InvalidLabel(BadRequest):
    """The label cannot be compared with the application's outputs."""

    code = "invalid_label"


class InputTypeMismatch(BadRequest):
    """An application and a model linked to it take different inputs."""

    code = "input_type_mismatch"


class InvalidModel(BadRequest):
    """What was given to be deployed cannot be: not fitted, not callable, of an unknown kind."""

    code = "invalid_model"


class Unauthenticated(ClipperError):
    """No token, or a wrong one."""

    code = "unauthenticated"
    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class Forbidden(ClipperError):
    """The caller is known, or a browser, and may not do this."""

    code = "forbidden"
    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class NotFound(ClipperError):
    """A name in the request is not known."""

    code = "not_found"
    http_status = 404
    grpc_status = "NOT_FOUND"


class UnknownApplication(NotFound):
    """No application has this name."""

    code = "unknown_application"


class UnknownModel(NotFound):
    """No model has this name."""

    code = "unknown_model"


class UnknownVersion(NotFound):
    """The model has no such version."""

    code = "unknown_version"


class UnknownReplica(NotFound):
    """No replica has this id."""

    code = "unknown_replica"


class UnknownArtifact(NotFound):
    """No artifact has this digest."""

    code = "unknown_artifact"


class MethodNotAllowed(ClipperError):
    """The path exists, not with this method."""

    code = "method_not_allowed"
    http_status = 405
    grpc_status = "UNIMPLEMENTED"


class RequestTimeout(ClipperError):
    """The request did not arrive in full in time."""

    code = "request_timeout"
    http_status = 408
    grpc_status = "DEADLINE_EXCEEDED"


class Conflict(ClipperError):
    """The request contradicts what is there."""

    code = "conflict"
    http_status = 409
    grpc_status = "FAILED_PRECONDITION"


class AlreadyExists(Conflict):
    """Something of this name exists and is another one."""

    code = "already_exists"
    grpc_status = "ALREADY_EXISTS"


class PolicyTakesOneModel(Conflict):
    """A second model was linked under a policy that serves one."""

    code = "policy_takes_one_model"


class StillInUse(Conflict):
    """What should go is still used by something that stays."""

    code = "still_in_use"


class DuplicateFeedback(Conflict):
    """Feedback on this query, or with this update_id, was accepted before; it counts once."""

    code = "duplicate_feedback"
    grpc_status = "ALREADY_EXISTS"


class UnknownQuery(ClipperError):
    """Feedback names a query that is too old, of another installation or application, or no query at all."""

    code = "unknown_query"
    http_status = 410
    grpc_status = "NOT_FOUND"


class TooLarge(ClipperError):
    """The body is over the limit."""

    code = "too_large"
    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"


class UnsupportedMediaType(ClipperError):
    """The content type is not one that this port takes."""

    code = "unsupported_media_type"
    http_status = 415
    grpc_status = "INVALID_ARGUMENT"


class HeadersTooLarge(ClipperError):
    """The request's headers are over the limit."""

    code = "headers_too_large"
    http_status = 431
    grpc_status = "RESOURCE_EXHAUSTED"


class Overloaded(ClipperError):
    """Refused on arrival: the answer would have come too late."""

    code = "overloaded"
    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"


class Cancelled(ClipperError):
    """The caller went away before the answer."""

    code = "cancelled"
    http_status = 499
    grpc_status = "CANCELLED"


class ModelError(ClipperError):
    """The model raised, or returned something that cannot be served."""

    code = "model_error"


class PolicyFailed(ClipperError):
    """The application's selection policy raised, or returned something that makes no sense."""

    code = "policy_failed"


class LowConfidence(ClipperError):
    """The models agree less than the application wants. Only ever the reason for a default."""

    code = "low_confidence"


class InternalError(ClipperError):
    """A fault of ours; the details are in the log, never in the answer."""


class Unavailable(ClipperError):
    """Nothing is wrong with the request; it cannot be served now."""

    code = "unavailable"
    http_status = 503
    grpc_status = "UNAVAILABLE"


class NoModelReady(Unavailable):
    """The application has no linked model, or none of its replicas is ready."""

    code = "no_model_ready"


class StoreUnavailable(Unavailable):
    """A change or feedback cannot be committed now."""

    code = "store_unavailable"


class ShuttingDown(Unavailable):
    """The server stops and takes nothing new."""

    code = "shutting_down"


class DeadlineExceeded(ClipperError):
    """The answer did not come before the query's deadline."""

    code = "deadline_exceeded"
    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"


class Unreachable(ClipperError):
    """The client could not talk to a server at this address."""

    code = "unreachable"
    http_status = 503
    grpc_status = "UNAVAILABLE"


class DeploymentFailed(ClipperError):
    """The client waited for a deployed version, and it failed to start, was stopped, or took too long."""

    code = "deployment_failed"


def _tree(root: type[ClipperError]) -> list[type[ClipperError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def from_json(status: int | None, body: Mapping[str, Any]) -> ClipperError:
    """The error that a server's answer stands for; an unknown code keeps the class of its status.

    An element of a batch has a code and no status of its own: None.
    """
    classes = _tree(ClipperError)
    code = str(body.get("code", ""))
    exact = [c for c in classes if c.code == code and status in {None, c.http_status}]
    same_status = [c for c in classes if c.http_status == status]
    retry_after_ms = body.get("retry_after_ms")
    error = (exact or same_status or [ClipperError])[0](
        str(body.get("error", f"The server answered with status {status} and no reason.")),
        retry_after_s=retry_after_ms / 1e3 if isinstance(retry_after_ms, int | float) else None,
    )
    if code and error.code != code:
        error.code = code  # type: ignore[misc]  # a newer server's code reaches the user as it came
    return error
