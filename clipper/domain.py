"""The words of the system as frozen values: what is configured, what runs, what is asked.

Configuration is validated when it is built, in the same shape that the admin API, ``clipper apply``, the client and the
store use. The values of the hot path (`Query`) are plain slots, because one is made for every request.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import Field, field_validator, model_validator

from clipper.deployment import Canary, External, Replicas, Rollout, Scale
from clipper.frozen import Count, Flag, Frozen, Name, Number, VersionName
from clipper.tensors import Tensors
from clipper_container.tensors import BYTES

MAX_SLO_MS = 600_000.0
MAX_BATCH_SIZE = 65_536
MAX_DELAY_MS = 10_000.0
MAX_LINKED_MODELS = 128
MAX_MEMORY_MB = 16_777_216
MAX_THREADS = 1024
MAX_TTL_S = 31_536_000.0

KeptWarm = Annotated[Count, Field(ge=0, le=64)]
InputType = Literal["doubles", "floats", "integers", "strings", "bytes", "json", "tensors"]
NUMERIC_INPUT_TYPES: Mapping[str, int] = {"doubles": 8, "floats": 4, "integers": 4}
"""Numeric input types and the bytes of one number."""

VersionState = Literal["registered", "starting", "warming", "ready", "draining", "stopped", "failed"]
ReplicaState = Literal["starting", "warming", "ready", "draining", "failed"]


class Batching(Frozen):
    """How a version's queries are batched.

    Written as a word (``deadline``, ``fixed:32``) or as these fields. ``delay_ms`` is how long a batch that could be
    larger waits for more queries (delayed batching).
    """

    policy: Literal["none", "fixed", "aimd", "quantile", "deadline"] = "deadline"
    size: Annotated[Count, Field(ge=1, le=MAX_BATCH_SIZE)] | None = None
    max_batch_size: Annotated[Count, Field(ge=1, le=MAX_BATCH_SIZE)] = 4096
    delay_ms: Annotated[Number, Field(ge=0, le=MAX_DELAY_MS)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        fixed = re.fullmatch(r"fixed[:(](\d+)\)?", value)
        return {"policy": "fixed", "size": int(fixed[1])} if fixed else {"policy": value}

    @model_validator(mode="after")
    def _size_belongs_to_fixed(self) -> Self:
        if (self.policy == "fixed") != (self.size is not None):
            raise ValueError("'size' is required by the policy 'fixed' (for instance 'fixed:32') and by no other")
        return self


class Limits(Frozen):
    """What one replica may use. ``threads`` is given to BLAS and OpenMP; ``memory_mb`` bounds its private memory.

    ``cpus`` and ``gpus`` are for containers: a process cannot be held to them.
    """

    threads: Annotated[Count, Field(ge=1, le=MAX_THREADS)] = 1
    memory_mb: Annotated[Count, Field(ge=16, le=MAX_MEMORY_MB)] | None = None
    cpus: Annotated[Number, Field(ge=0.01, le=MAX_THREADS)] | None = None
    gpus: Annotated[Count, Field(ge=0, le=64)] | None = None
    hang_timeout_s: Annotated[Number, Field(ge=0.1, le=86_400)] = 60.0


class Caching(Frozen):
    """Whether and how long a version's predictions are kept. Switch it off for a model that draws at random."""

    enabled: Flag = True
    ttl_s: Annotated[Number, Field(gt=0, le=MAX_TTL_S)] | None = None


class VersionSpec(Frozen):
    """What an engineer says about one version of a model when deploying it.

    ``replicas`` is a number, or a range within which the version scales by itself. With ``canary`` it gets the traffic
    only when it has proved itself on a part of it. ``external``: its replica is a container that somebody else runs.
    ``inputs`` are the tensors of one query, where the input type is ``tensors``; ``outputs`` those of one answer, where
    somebody wants to know beforehand.
    """

    version: VersionName
    flavor: Name = "python"
    input_type: InputType
    inputs: Tensors = ()
    outputs: Tensors = ()
    method: Literal["predict", "predict_proba"] = "predict"
    replicas: Replicas = 1
    batching: Batching = Batching()
    caching: Caching = Caching()
    limits: Limits = Limits()
    promote: Flag = True
    canary: Canary | None = None
    external: External | None = None

    @model_validator(mode="after")
    def _canary_leads_to_the_traffic(self) -> Self:
        if self.canary is not None and not self.promote:
            raise ValueError("'canary' is a way to the traffic, which 'promote': false says it shall not have")
        return self

    @model_validator(mode="after")
    def _external_is_one_replica(self) -> Self:
        if self.external is not None and self.replicas != 1:
            raise ValueError(
                f"it is the one container at {self.external.address}, which Clipper does not start: it cannot be scaled"
            )
        return self

    @property
    def has_rows_by_width(self) -> bool:
        """Whether rows of one shape have one length, and rows of another length make no array with them."""
        if self.input_type == "tensors":
            return all(tensor.datatype != BYTES for tensor in self.inputs)
        return self.input_type in NUMERIC_INPUT_TYPES


class Policy(Frozen):
    """A selection policy by name, with its options."""

    name: Name | Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")] = "single"
    options: dict[str, float | int | str | bool | dict[str, float] | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Application(Frozen):
    """What a backend queries: an input type, an SLO, the models behind it and how one is chosen.

    ``default_output`` answers where no model can; an application without the field has no default, which is not the
    same as a default of null (``has_default`` tells them apart). ``loss_range`` are the losses that count as 0 and
    as 1 (of ``squared`` and ``absolute``; what lies outside is clipped). ``log_inputs``: what the feedback log keeps.
    ``inputs`` and ``outputs`` are as a version's.
    """

    name: Name
    input_type: InputType
    slo_ms: Annotated[Number, Field(gt=0, le=MAX_SLO_MS)]
    default_output: Any = None
    policy: Policy = Policy()
    models: Annotated[
        tuple[Name, ...], Field(max_length=MAX_LINKED_MODELS, json_schema_extra={"uniqueItems": True})
    ] = ()
    min_confidence: Annotated[Number, Field(ge=0, le=1)] | None = None
    loss: Literal["zero_one", "squared", "absolute"] = "zero_one"
    loss_range: tuple[Number, Number] = (0.0, 1.0)
    log_inputs: Literal["none", "digest", "full"] = "digest"
    inputs: Tensors = ()
    outputs: Tensors = ()

    @property
    def has_default(self) -> bool:
        """Whether a default output was given, be it null."""
        return "default_output" in self.model_fields_set

    @property
    def _undeclared(self) -> set[str]:
        return {name for name in ("inputs", "outputs") if not getattr(self, name)}

    @field_validator("loss_range")
    @classmethod
    def _from_low_to_high(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not bounds[0] < bounds[1]:
            raise ValueError("has the lower bound first and a higher one second")
        return bounds

    @field_validator("models")
    @classmethod
    def _each_model_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) != len(models):
            raise ValueError("names each model at most once")
        return models

    def to_json(self) -> dict[str, Any]:
        """As the wire and the store have it: without the fields that were never given a value."""
        body = self.model_dump(mode="json", exclude={"default_output", "min_confidence"} | self._undeclared)
        if self.has_default:
            body["default_output"] = self.default_output
        if self.min_confidence is not None:
            body["min_confidence"] = self.min_confidence
        return body


class Model(Frozen):
    """A name under which versions are deployed.

    ``target`` is the version that should have the traffic, ``canary`` the one that is tried on a part of it.
    """

    name: Name
    target: VersionName | None = None
    canary: VersionName | None = None
    keep_warm: KeptWarm = 1


class Version(Frozen):
    """One deployed version. ``generation`` tells a version apart from an earlier one of the same name."""

    model: Name
    spec: VersionSpec
    generation: int
    digest: str | None = None
    manifest: dict[str, Any] = {}
    wanted: bool = True
    created_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """(model, version), the name of this version everywhere."""
        return self.model, self.spec.version


class VersionStatus(Frozen):
    """Where a version is in its lifecycle, and why. ``current`` is not a state: it is where the traffic goes.

    ``scale`` is there once a version that scales by itself has been scaled.
    """

    model: Name
    version: VersionName
    generation: int
    state: VersionState
    reason: str | None = None
    since: float = 0.0
    input_width: int | None = None
    scale: Scale | None = None


class Replica(Frozen):
    """A running replica as the registry knows it. ``address`` is ``unix:/path`` or ``tcp:host:port``."""

    replica_id: str
    model: Name
    version: VersionName
    generation: int
    host_id: str
    address: str
    state: ReplicaState = "starting"
    pid: int | None = None
    pid_created_at: float | None = None
    restarts: int = 0
    reason: str | None = None
    last_words: str | None = None
    since: float = 0.0


class Desired(Frozen):
    """What users want. Changed only as a whole, by the functions of `clipper.control.desired`.

    ``generations`` has the revision at which each application was created: it tells one from an earlier one of the
    same name.
    """

    applications: dict[str, Application] = {}
    generations: dict[str, int] = {}
    models: dict[str, Model] = {}
    versions: dict[str, dict[str, Version]] = {}

    def version(self, model: str, version: str) -> Version | None:
        """The version of that name, or None."""
        return self.versions.get(model, {}).get(version)


class Observed(Frozen):
    """What the controller sees and has decided: which version has the traffic, what runs and in which state.

    ``previous`` lists the versions that had a model's traffic before the current one, the latest first: the first
    ``keep_warm`` of them stay ready for a rollback. ``rollouts`` has each model's last canary.
    """

    current: dict[str, str] = {}
    previous: dict[str, tuple[str, ...]] = {}
    statuses: dict[str, dict[str, VersionStatus]] = {}
    replicas: dict[str, Replica] = {}
    rollouts: dict[str, Rollout] = {}


class Snapshot(Frozen):
    """Everything a frontend needs, as of one revision of the store."""

    revision: int = 0
    desired: Desired = Desired()
    observed: Observed = Observed()


class Query(msgspec.Struct, frozen=True, gc=False):
    """One question to one application.

    ``row`` is the encoded input (`clipper.inputs`); ``arrived_s`` is on the injected monotonic clock, when the body was
    complete; ``timeout_ms`` is positive and shortens the application's SLO, never lengthens it.
    """

    application: str
    row: bytes
    arrived_s: float
    timeout_ms: float | None = None
    uid: str | None = None
    version: str | None = None
    explain: bool = False
