"""Networks that a server is closed to: whoever comes from there is cut off before a byte of theirs is read.

A model's container has no route out of its network, but the host has an address in it, and some engines let packets on
to the host's other addresses. The admin API is not to be had there, whatever address it listens on. The kernel knows
where a connection comes from; without privileges, which containers have none of, that cannot be forged.
"""

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from clipper_frontends.rest.protocol import Protocol

Network = IPv4Network | IPv6Network


class Neighbours:
    """The networks, as they are now."""

    def __init__(self) -> None:
        self._networks: tuple[Network, ...] = ()

    def keep_out(self, networks: Sequence[Network]) -> None:
        """From now on, these and no others."""
        self._networks = tuple(networks)

    def has(self, host: str) -> bool:
        """Whether the address is one of theirs."""
        address = ip_address(host.partition("%")[0])
        return any(address in network for network in self._networks)


class GuardedProtocol(Protocol):
    """A connection that is only there for those who are no neighbours."""

    def __init__(self, *arguments: Any, neighbours: Neighbours, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._neighbours = neighbours

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody came."""
        super().connection_made(transport)
        if self.client is not None and self._neighbours.has(self.client[0]):
            transport.abort()
