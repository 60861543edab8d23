"""How a version is deployed: how many replicas it may have, how it comes to its traffic, where it runs."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from clipper.frozen import Count, Frozen, Name, Number, VersionName
from clipper_container.address import parse_address
from clipper_container.handshake import MIN_SECRET_BYTES

MAX_REPLICAS = 256
MAX_CANARY_S = 604_800.0
MAX_CANARY_QUERIES = 10_000_000
MAX_SECRET_CHARS = 1024
MAX_ADDRESS_CHARS = 512

WantedReplicas = Annotated[Count, Field(ge=0, le=MAX_REPLICAS)]


class ReplicaRange(Frozen):
    """Scales by itself: as many replicas as the queries need, never fewer than ``min`` nor more than ``max``.

    Written as a word (``1-8``) or as these fields.
    """

    min: Annotated[Count, Field(ge=1, le=MAX_REPLICAS)] = 1
    max: Annotated[Count, Field(ge=1, le=MAX_REPLICAS)]

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"'min' ({self.min}) must not be more than 'max' ({self.max})")
        return self

    def clamp(self, replicas: int) -> int:
        """The number within the range that is nearest."""
        return min(max(replicas, self.min), self.max)


def _range_of_word(value: Any) -> Any:
    """``"1-8"`` as the range and ``"3"`` as the number that it says; what is no word as it came."""
    if not isinstance(value, str):
        return value
    word = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", value.strip())
    if word is None:
        raise ValueError(f"is a number of replicas (3), or a range to scale in (1-8); {value[:40]!r} came")
    return int(word[1]) if word[2] is None else {"min": int(word[1]), "max": int(word[2])}


def _kind_of_replicas(value: Any) -> str:
    return "<range>" if isinstance(value, dict | ReplicaRange) else "<number>"


Replicas = Annotated[
    Annotated[WantedReplicas, Tag("<number>")] | Annotated[ReplicaRange, Tag("<range>")],
    Discriminator(_kind_of_replicas),
    BeforeValidator(_range_of_word),
]
"""A number, or a range within which the version scales by itself."""


class Canary(Frozen):
    """How a new version proves itself on a part of the model's traffic before it gets all of it.

    Written as a word (``5%``) or as these fields. It gets ``share`` of the queries. Once it has served for
    ``duration_s`` and answered ``min_queries``, it is promoted. Before that, it is rolled back as soon as it is
    certain, by ``confidence``, that it is worse than the current version over the same time: that its share of errors,
    or the mean loss that feedback gives it, is higher by more than ``tolerance``, or that more of its answers take
    longer than ``max_latency_ratio`` times the current version's P99.
    """

    share: Annotated[Number, Field(gt=0, le=0.9)]
    duration_s: Annotated[Number, Field(ge=0, le=MAX_CANARY_S)] = 300.0
    min_queries: Annotated[Count, Field(ge=1, le=MAX_CANARY_QUERIES)] = 200
    max_latency_ratio: Annotated[Number, Field(ge=1, le=1000)] = 1.5
    tolerance: Annotated[Number, Field(ge=0, le=1)] = 0.005
    confidence: Annotated[Number, Field(ge=0.5, lt=1)] = 0.99

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"share": value}
        if not isinstance(value, str):
            return value
        word = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", value.strip())
        if word is None:
            raise ValueError(f"is a share of the traffic such as '5%'; {value[:40]!r} came")
        return {"share": float(word[1]) / 100}


def _parsed_address(value: str) -> str:
    parse_address(value)  # its sentence says what an address looks like
    return value


Address = Annotated[str, Field(max_length=MAX_ADDRESS_CHARS), AfterValidator(_parsed_address)]
"""``unix:/path`` or ``tcp:host:port``."""


def _checked_secret(value: Any) -> Any:
    """Checked here, because the sentence of a pattern or a length would repeat what came."""
    if value is None:
        return value
    if not isinstance(value, str) or not MIN_SECRET_BYTES <= len(value.encode()) <= MAX_SECRET_CHARS:
        raise ValueError(f"is text of {MIN_SECRET_BYTES} to {MAX_SECRET_CHARS} bytes")
    return value


class External(Frozen):
    """A container that somebody else runs: where it listens, and the secret that both ends know.

    The secret is kept in the store, and shown nowhere.
    """

    address: Address
    secret: Annotated[str | None, BeforeValidator(_checked_secret)] = Field(default=None, repr=False)


class Scale(Frozen):
    """How many replicas a version that scales by itself is to have now, why, and since when (seconds since 1970)."""

    replicas: int
    reason: str
    since: float = 0.0


RolloutState = Literal["waiting", "running", "promoted", "rolled_back", "ended"]


class Rollout(Frozen):
    """How the last canary of a model goes, or went.

    ``against`` is the version that has the rest of the traffic. *waiting* until a replica is ready, then *running*;
    *promoted* or *rolled_back* by what was measured; *ended* by a user. ``since`` is in seconds since 1970.
    """

    model: Name
    version: VersionName
    generation: int
    against: VersionName
    share: float
    state: RolloutState
    reason: str
    since: float = 0.0
