"""Which version of a model gets the traffic in this frontend."""

from clipper.abstraction.served import ServedVersion


class ModelRoute:
    """Follows the controller's choice of the current version, but moves only once its own link to it is ready.

    The controller moves ``current`` when it sees a ready replica; another process may see it a moment later. Until then
    the version that served so far keeps serving, so that no query falls between the two.
    """

    __slots__ = ("current", "serving")

    def __init__(self) -> None:
        self.current: ServedVersion | None = None
        self.serving: ServedVersion | None = None

    def point_at(self, current: ServedVersion | None) -> None:
        """The controller's choice changed, or is confirmed."""
        self.current = current
        self.settle()

    def settle(self) -> None:
        """Move if the current version can serve, or if nothing else can."""
        if self.current is None or self.current.has_ready_replica or not self._serving_can():
            self.serving = self.current

    def forget(self, served: ServedVersion) -> None:
        """A version is gone for good."""
        if self.serving is served:
            self.serving = self.current
        if self.current is served:
            self.current = self.serving = None

    def _serving_can(self) -> bool:
        return self.serving is not None and self.serving.has_ready_replica
