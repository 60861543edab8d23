"""The network of an installation's replicas: it leads nowhere.

Where replicas are dialled at their own addresses the network is *internal*: nothing is forwarded out of it, and
replicas cannot reach each other. What is left is the host itself; `clipper_frontends.rest.neighbours` keeps them out of
the admin API. Where replicas are dialled at published ports, which an internal network has none of, nothing that a
replica sends gets the engine's own address, so that no answer finds its way back.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from clipper.control.docker import labels
from clipper.control.docker.engine import Engine, EngineRefused, asking, is_missing

KeepOut = Callable[[Sequence[IPv4Network | IPv6Network]], None]

_NO_TALK = {"com.docker.network.bridge.enable_icc": "false"}
_NO_WAY_BACK = {"com.docker.network.bridge.enable_ip_masquerade": "false"}


class Network:
    """The installation's network, or the one that was named, which is left as it is.

    Args:
        engine: Where it is.
        installation_id: Whose it is.
        given: The name of a network that somebody else made, with this server in it.
        keep_out: Called in the event loop with the addresses of replicas that could reach this server.
    """

    def __init__(self, engine: Engine, installation_id: str, given: str | None, keep_out: KeepOut) -> None:
        self._engine = engine
        self._installation_id = installation_id
        self._given = given
        self._keep_out = keep_out
        self._making = asyncio.Lock()
        self._kept_out: str | None = None

    async def provide(self) -> str:
        """Its id; it is made if it is not there. The engine would make a second one of the same name.

        Raises:
            EngineRefused: The engine has no address range left, or the network that was named does not exist.
        """
        async with self._making:
            described = await self._engine.call(self._provide)
            network_id = str(described["Id"])
            if self._kept_out != network_id and self._engine.publishes_on is None:
                self._keep_out([ip_network(pool["Subnet"]) for pool in described["IPAM"]["Config"] or ()])
                self._kept_out = network_id
        return network_id

    async def remove(self) -> None:
        """Remove it, unless it was given.

        Raises:
            EngineRefused: Something is still in it.
        """
        if self._given is None:
            for network_id in await self._engine.call(self._own):
                await self._engine.call(self._engine.client.api.remove_network, network_id)

    def _provide(self) -> dict[str, Any]:
        if self._given is not None:
            return self._find_given(self._given)
        own = self._own()
        described: dict[str, Any] = asking(self._engine.client.api.inspect_network, own[0] if own else self._make())
        return described

    def _find_given(self, name: str) -> dict[str, Any]:
        try:
            described: dict[str, Any] = asking(self._engine.client.api.inspect_network, name)
        except EngineRefused as error:
            if is_missing(error):
                raise EngineRefused(f"There is no network {name} on the Docker engine (docker_network).") from None
            raise
        return described

    def _own(self) -> list[str]:
        found = asking(self._engine.client.api.networks, filters=labels.own(self._installation_id))
        return [network["Id"] for network in found]

    def _make(self) -> str:
        direct = self._engine.publishes_on is None
        made = asking(
            self._engine.client.api.create_network,
            labels.name(self._installation_id),
            driver="bridge",
            internal=direct,
            options=_NO_TALK if direct else {**_NO_TALK, **_NO_WAY_BACK},
            labels={labels.INSTALLATION: self._installation_id},
        )
        return str(made["Id"])
