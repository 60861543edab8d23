"""The shapes of the admin API's requests and answers."""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict

from clipper.deployment import Canary, ReplicaRange, Rollout
from clipper.domain import Application, Batching, Caching, InputType, Limits, Replica, VersionState
from clipper.frozen import VersionName
from clipper.tensors import Tensor


def patch_of(kind: type[BaseModel], fields: Collection[str], **further: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a body with some of the ``fields`` of ``kind``, and ``further`` ones with their schema."""
    properties = kind.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    patched = {name: schema for name, schema in properties.items() if name in fields}
    for schema in patched.values():
        schema.pop("default", None)  # what is not named stays as it is
    schema = {"type": "object", "properties": patched | further, "additionalProperties": False}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


class ErrorBody(BaseModel):
    """Every failure."""

    error: str
    code: str
    retry_after_ms: int | None = None


class Deleted(BaseModel):
    """What was removed."""

    deleted: str


class ReplicaCount(BaseModel):
    """How many replicas should run and how many take queries.

    ``bounds`` is there where the version scales by itself, ``why`` once it has: the measurements behind ``wanted``.
    """

    wanted: int
    ready: int
    bounds: ReplicaRange | None = None
    why: str | None = None


class VersionMeasurements(BaseModel):
    """What this server's engine measured of one version since it started. None: nothing yet."""

    model_config = ConfigDict(extra="allow")

    queries: int = 0
    batches: int = 0
    mean_batch: float | None = None
    cache_hit_rate: float | None = None
    queue_p99_ms: float | None = None
    model_p99_ms: float | None = None
    refused: int = 0
    retries: int = 0
    ejections: int = 0
    failures: dict[str, int] = {}
    feedbacks: int = 0
    mean_loss: float | None = None


class VersionInfo(BaseModel):
    """One version of a model.

    ``current``: it has the traffic. ``target``: it shall have it. ``serving``: the frontend here has a replica of it
    that takes queries. ``reason`` says why it is in its state, where that is
    not obvious; ``last_words`` is the end of what a replica of it printed before it died. ``on_trial``: it is the
    model's canary now. ``canary`` is how it was, or
    is to be, tried; ``address`` where the container is that somebody else runs.
    """

    model: str
    version: str
    state: VersionState
    reason: str | None
    since: float
    current: bool
    target: bool
    serving: bool
    wanted: bool
    replicas: ReplicaCount
    restarts: int
    last_words: str | None
    flavor: str
    input_type: InputType
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    input_width: int | None
    method: str
    batching: Batching
    caching: Caching
    limits: Limits
    generation: int
    digest: str | None
    manifest: dict[str, Any]
    created_at: float
    on_trial: bool = False
    canary: Canary | None = None
    address: str | None = None
    measured: VersionMeasurements | None = None


class ModelInfo(BaseModel):
    """A model with its versions, in the order of their creation.

    ``canary`` is tried on a part of the traffic now; ``rollout`` tells how it goes, or how the last one went.
    ``previous`` had the traffic before, the latest first.
    """

    name: str
    current: str | None
    target: str | None
    canary: str | None = None
    rollout: Rollout | None = None
    previous: list[str] = []
    keep_warm: int
    applications: list[str]
    versions: list[VersionInfo]


class Promotion(BaseModel):
    """The version that shall have the model's traffic; with ``canary``, only once it has proved itself on a part."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName
    canary: Canary | None = None


class Logs(BaseModel):
    """The last lines that a replica wrote."""

    replica_id: str
    logs: str


class Choice(BaseModel):
    """How a policy regards one model.

    ``weight`` is the model's part in the policy's decision, None where the policy failed; ``probability`` that it is
    asked. The counts are feedbacks as they weigh now, old ones less where the policy forgets: those in which the model
    could have been chosen, and those that told its loss. ``sums`` is all that is kept of the arm.
    """

    model: str
    version: str | None
    arm: str
    weight: float | None
    probability: float | None
    eligible: float
    plays: float
    mean_loss: float | None
    sums: dict[str, float]


class Selection(BaseModel):
    """How an application's policy chooses. With a uid, counts are of that user's own feedback.

    ``feedbacks`` counts all that there ever were; ``fault`` says what the policy failed in.
    """

    application: str
    policy: str
    options: dict[str, Any]
    uid: str | None
    feedbacks: int
    half_life_feedbacks: float | None
    fault: str | None
    models: list[Choice]


class FeedbackPage(BaseModel):
    """Some records of the feedback log, and where the next ones are; None at its end. Bytes are base64."""

    records: list[dict[str, Any]]
    next: int | None


class Erased(BaseModel):
    """A person that is known no more, and how many records of the log had been theirs."""

    erased: str
    records: int


class ApplicationMeasurements(BaseModel):
    """What the engine measured of one application lately; outcomes as ``answered``, ``default:<code>``, ...

    ``feedback`` counts what came of feedback (``accepted``, or an error code), ``mean_loss`` is of the answers that
    feedback told about; both since the server started.
    """

    model_config = ConfigDict(extra="allow")

    qps: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    recent: dict[str, int] = {}
    total: dict[str, int] = {}
    feedback: dict[str, int] = {}
    mean_loss: float | None = None


class ApplicationStatus(Application):
    """An application and how it fares."""

    measured: ApplicationMeasurements


class Status(BaseModel):
    """The whole server at a glance. ``query`` and ``admin`` are URLs, ``grpc`` is ``host:port``."""

    query: str | None
    admin: str | None
    grpc: str | None
    version: str
    ready: bool
    reason: str
    revision: int
    applications: list[ApplicationStatus]
    models: list[ModelInfo]
    replicas: list[Replica]
