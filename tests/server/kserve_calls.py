"""What a program does with the KServe SDK as it is, and our own client beside it.

For a process of its own: the SDK and `tritonclient` each bring a ``ModelInferRequest`` of their own for protobuf's one
default pool, so that no process can import both. What goes in and comes out is plain, to travel between processes.
"""

import asyncio
from typing import Any

import grpc
import httpx
import kserve
import numpy as np
from kserve.protocol.infer_type import RequestedOutput

import clipper

TIMEOUT_S = 20.0


def health(query: str, address: str, model: str) -> dict[str, list[bool]]:
    """Live, ready, the model ready: over REST and over gRPC."""

    async def ask() -> dict[str, list[bool]]:
        async with _rest() as rest, _grpc(address) as by_grpc:
            over_rest = [
                await rest.is_server_live(query),
                await rest.is_server_ready(query),
                await rest.is_model_ready(query, model),
            ]
            return {"rest": over_rest, "grpc": await _health(by_grpc, model)}

    return asyncio.run(ask())


async def _health(client: Any, model: str) -> list[bool]:
    return [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready(model)]


def infer(query: str, address: str, model: str, rows: Any, form: str, **options: Any) -> dict[str, Any]:
    """The response to the rows of an array, in JSON or binary over REST, typed or raw over gRPC.

    With ``output``, it is asked for by that name.
    """
    return asyncio.run(_infer(query, address, model, np.asarray(rows), form, **options))


def failure(query: str, address: str, model: str, rows: Any, form: str, **options: Any) -> tuple[str, str]:
    """Status and sentence of what is refused."""
    try:
        answered = infer(query, address, model, rows, form, **options)
    except httpx.HTTPStatusError as error:
        return str(error.response.status_code), str(error)
    except httpx.TimeoutException as error:
        return type(error).__name__, str(error)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"it was answered: {answered}")


async def _infer(
    query: str, address: str, model: str, rows: Any, form: str, output: str | None = None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    datatype = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "BYTES"}[rows.dtype.name]
    tensor = kserve.InferInput("input", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=form in {"binary", "raw"})
    wanted = [RequestedOutput(output, {"binary_data": form == "binary"})] if output else None
    request = kserve.InferRequest(
        model,
        [tensor],
        request_id="mine",
        parameters={"binary_data_output": form == "binary"},
        request_outputs=wanted,
    )
    if form in {"json", "binary"}:
        async with _rest() as rest:
            response = await rest.infer(query, request, model_name=model, timeout=timeout_s)
    else:
        async with _grpc(address) as by_grpc:
            response = await by_grpc.infer(request, timeout=timeout_s)
    (tensor,) = response.outputs
    return {
        "id": response.id,
        "name": tensor.name,
        "output": tensor.as_numpy().tolist(),
        "parameters": {name: _plain(value) for name, value in response.parameters.items()},
    }


def _plain(value: Any) -> Any:
    """The value of a parameter, which is a message over gRPC."""
    return getattr(value, value.WhichOneof("parameter_choice")) if hasattr(value, "WhichOneof") else value


def beside_our_client(query: str, admin: str, address: str, model: str, row: list[float]) -> list[Any]:
    """The same row by the SDK over gRPC, and by our own client over both protocols, in one process."""
    found = infer(query, address, model, [row], "raw")["output"]
    for protocol in ("rest", "grpc"):
        with clipper.connect(admin, protocol=protocol) as cl:
            found.append(cl.predict(model, np.array(row)).output)
    return found


def _rest() -> Any:
    return kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=TIMEOUT_S))


def _grpc(address: str) -> Any:
    return kserve.InferenceGRPCClient(address, timeout=TIMEOUT_S)
