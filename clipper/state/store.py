"""What every store can do: hold the desired and the observed state under one revision."""

from collections.abc import Callable
from typing import Protocol

from clipper.domain import Desired, Observed, Snapshot

DesiredEdit = Callable[[Desired, int], Desired]
"""(what is wanted, the revision that the change will have) -> what shall be wanted. Pure; may raise a ClipperError."""

ObservedEdit = Callable[[Observed], Observed]
"""What was seen -> what is seen. Pure."""


class Store(Protocol):
    """Desired and observed state. Every change raises the revision by one in the transaction that makes it.

    A reader that holds revision r is up to date while `revision` says r. A missed notification therefore costs a delay
    until the next comparison, never correctness. Every method raises `StoreUnavailable` when the store cannot do it
    now; nothing has changed then. Cancelling a call does not undo a change that is already on its way.
    """

    installation_id: str
    """Drawn once, when the store was created. Tells this installation's replicas from another's."""

    async def revision(self) -> int:
        """The number of changes so far. Cheap enough to be asked several times a second."""
        ...

    async def snapshot(self) -> Snapshot:
        """Everything, as of one revision."""
        ...

    async def change(self, edit: DesiredEdit) -> Snapshot:
        """Apply ``edit`` to the desired state, atomically and durably; equal states are not written.

        Raises:
            ClipperError: What ``edit`` raised; nothing has changed.
        """
        ...

    async def report(self, edit: ObservedEdit) -> Snapshot:
        """Apply ``edit`` to the observed state. Only the controller reports."""
        ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` in the event loop after each change made through this object; returns the way to end that.

        Changes of other processes are found by asking for the revision.
        """
        ...

    async def close(self) -> None:
        """Finish what is on its way and let go of everything. Later calls raise `StoreUnavailable`."""
        ...
