"""Registering what somebody else runs: a container, or a model behind a server of the Open Inference Protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from clipper.client.operations.deployment import Watcher, deploy_model, plain, wait_for_version
from clipper.client.paths import path
from clipper.client.steps import Request, Session, Steps, Upload
from clipper.domain import Batching, Caching, InputType, Limits
from clipper.errors import InvalidRequest
from clipper.tensors import TensorLike
from clipper.tensors import plain as plain_tensors

SERVERS = ("grpc://", "grpcs://")
"""What the address of a model behind a server begins with."""


def register_model(  # noqa: D417 (the connection passes itself)
    session: Session,
    name: str,
    version: str | int,
    address: str,
    *,
    input_type: InputType = "doubles",
    num_replicas: int | str | Mapping[str, int] = 1,
    inputs: Sequence[TensorLike] = (),
    outputs: Sequence[TensorLike] = (),
    secret: str | None = None,
    batching: str | Mapping[str, Any] | Batching = "deadline",
    caching: Mapping[str, Any] | Caching | None = None,
    limits: Mapping[str, Any] | Limits | None = None,
    promote: bool = True,
    canary: str | Mapping[str, Any] | None = None,
    wait: bool = True,
    timeout_s: float = 60.0,
    on_progress: Watcher | None = None,
) -> Steps[dict[str, Any]]:
    """Serve a version by what runs already: a container, or a model behind a server of the Open Inference Protocol.

    A container speaks the container protocol and is dialled as it is. A server of the Open Inference Protocol (Triton,
    MLServer, KServe) is asked through an adapter, which is a replica like any other: deployed, watched and scaled.

    Args:
        name: The model's name; a new one creates the model.
        version: The version's name.
        address: Where it listens, as the server reaches it: ``tcp:host:port`` or ``unix:/path`` of a container,
            ``grpc://host:port/model`` of a model behind a server (``grpcs`` for TLS, and ``/versions/2`` at its end for
            one version of it).
        input_type: What it takes.
        num_replicas: Of the adapter: so many requests the server has at a time. A container is one.
        inputs: The tensors of one query, of the input type ``tensors``, as of `deploy_model`.
        outputs: The same of one answer.
        secret: What both ends know; the container was started with it. The server keeps it and shows it to nobody.
        batching: As of `deploy_model`.
        caching: As of `deploy_model`.
        limits: ``{"hang_timeout_s": 60}``; the others are for whoever runs the container.
        promote: Give it the model's traffic as soon as it is ready.
        canary: As of `deploy_model`.
        wait: Return when it is ready, not when the server has taken it.
        timeout_s: How long to wait.
        on_progress: Called while it goes on, in no particular thread.

    Returns:
        The version as the server has it.

    Raises:
        AlreadyExists: The model has a version of that name.
        InvalidModel: An address of a server that names no model, for instance.
        InputTypeMismatch: The model's other versions, or an application that links it, take other inputs.
        DeploymentFailed: While waiting: it cannot be reached or is not what it should be, or took too long.
    """
    if address.startswith(SERVERS):
        if secret is not None:
            raise InvalidRequest(f"A secret is for containers; {address} has no use for one.")
        return (
            yield from deploy_model(
                session,
                name,
                version,
                address,
                input_type=input_type,
                inputs=inputs,
                outputs=outputs,
                num_replicas=num_replicas,
                batching=batching,
                caching=caching,
                limits=limits,
                promote=promote,
                canary=canary,
                wait=wait,
                timeout_s=timeout_s,
                on_progress=on_progress,
            )
        )
    external = {"address": address} | ({"secret": secret} if secret is not None else {})
    settings = {
        "replicas": num_replicas,
        "batching": batching,
        "caching": caching,
        "limits": limits,
        "canary": canary,
    }
    spec = {
        "version": str(version),
        "flavor": "external",
        "input_type": input_type,
        "promote": promote,
        "external": external,
    }
    spec |= {field: plain_tensors(tensors) for field, tensors in (("inputs", inputs), ("outputs", outputs)) if tensors}
    spec |= {field: plain(value) for field, value in settings.items() if value is not None}
    upload = Upload(spec, None, lambda _sent: None)
    reply = yield Request("POST", path("models", name, "versions"), upload=upload)
    info: dict[str, Any] = reply.json()
    if wait:
        info = yield from wait_for_version(
            session, name, version, promote=promote, timeout_s=timeout_s, on_progress=on_progress
        )
    return info
