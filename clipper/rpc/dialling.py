"""How this server's frontends and controller dial: with the replica's secret where the network lies between."""

import asyncio
from collections.abc import Callable

from clipper.deployment import External
from clipper.rpc.contract import LinkEvents
from clipper.rpc.link import ReplicaLink, dial
from clipper.rpc.secrets import ReplicaSecrets

Dial = Callable[[str, str, LinkEvents], ReplicaLink]
"""Address, replica id, and who is told of what happens; see `clipper.rpc.link.dial`."""


def dialler(loop: asyncio.AbstractEventLoop, clock: Callable[[], float], secrets: ReplicaSecrets | None = None) -> Dial:
    """Dials on ``loop``. A unix socket's file says who may connect; over TCP both ends prove to know a secret."""

    def connect(address: str, replica_id: str, events: LinkEvents) -> ReplicaLink:
        secret = secrets.of(replica_id) if secrets is not None and address.startswith("tcp:") else None
        return dial(address, replica_id, events, loop=loop, clock=clock, secret=secret)

    return connect


def external_dialler(loop: asyncio.AbstractEventLoop, clock: Callable[[], float], external: External) -> Dial:
    """Dials a container that somebody else runs, under whatever id it has, with the secret that was registered."""
    secret = external.secret.encode() if external.secret is not None else None

    def connect(address: str, replica_id: str, events: LinkEvents) -> ReplicaLink:
        return dial(address, replica_id, events, loop=loop, clock=clock, secret=secret, any_id=True)

    return connect
