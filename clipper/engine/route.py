"""Which version of a model gets the traffic in this frontend."""

import hashlib
from collections.abc import Callable
from typing import Final

from clipper.abstraction.served import ServedVersion

_POINT_BYTES: Final = 8
_POINTS: Final = 256**_POINT_BYTES
_MAX_KEY_BYTES: Final = 64


class CanaryRoute:
    """A version that is tried on a share of the model's traffic: always the same users, and queries without one drawn.

    Args:
        served: The version.
        share: Of the traffic.
        generation: Of the version: another canary gets other users.
        chance: Uniform in [0, 1).
    """

    __slots__ = ("_chance", "_key", "served", "share")

    def __init__(self, served: ServedVersion, share: float, generation: int, chance: Callable[[], float]) -> None:
        self.served = served
        self.share = share
        self._key = f"{served.name} {generation}".encode()[-_MAX_KEY_BYTES:]
        self._chance = chance

    def takes(self, uid: str | None) -> bool:
        """Whether a query of this user (None: of nobody) is the canary's. While it is down, none is."""
        if not self.served.has_ready_replica:
            return False
        return (self._chance() if uid is None else self._point_of(uid)) < self.share

    def _point_of(self, uid: str) -> float:
        name = uid.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, key=self._key, digest_size=_POINT_BYTES).digest()
        return int.from_bytes(digest, "big") / _POINTS


class ModelRoute:
    """Follows the controller's choice of the current version, but moves only once its own link to it is ready.

    The controller moves ``current`` when it sees a ready replica; another process may see it a moment later. Until then
    the version that served so far keeps serving, so that no query falls between the two.

    ``only`` is the version that gets every query; None while none serves, and while a ``canary`` gets a share: then
    `pick` says who gets a query. So a canary costs nothing where there is none.
    """

    __slots__ = ("canary", "current", "only", "serving")

    def __init__(self) -> None:
        self.current: ServedVersion | None = None
        self.serving: ServedVersion | None = None
        self.only: ServedVersion | None = None
        self.canary: CanaryRoute | None = None

    def pick(self, uid: str | None) -> ServedVersion | None:
        """The version for one query; None: none serves."""
        canary = self.canary
        return canary.served if canary is not None and canary.takes(uid) else self.serving

    def try_out(self, canary: CanaryRoute | None) -> None:
        """Give a share of the queries to another version, or to none any more."""
        self.canary = canary
        self.settle()

    def point_at(self, current: ServedVersion | None) -> None:
        """The controller's choice changed, or is confirmed."""
        self.current = current
        self.settle()

    def settle(self) -> None:
        """Move if the current version can serve, or if nothing else can."""
        if self.current is None or self.current.has_ready_replica or not self._serving_can():
            self.serving = self.current
        self.only = self.serving if self.canary is None else None

    def forget(self, served: ServedVersion) -> None:
        """A version is gone for good."""
        if self.serving is served:
            self.serving = self.current
        if self.current is served:
            self.current = self.serving = None
        if self.canary is not None and self.canary.served is served:
            self.canary = None
        self.only = self.serving if self.canary is None else None

    def _serving_can(self) -> bool:
        return self.serving is not None and self.serving.has_ready_replica
