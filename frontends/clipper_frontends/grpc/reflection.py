"""``grpc.reflection``: what this port serves, for grpcurl and its like. Version 1 and v1alpha are the same bytes."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import grpc

from clipper.protocols import Messages, file_of, files
from clipper_frontends.grpc.calls import Context

NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_messages = Messages("grpc.reflection.v1")
_NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED.value[0]


class ReflectionService:
    """Describes the services of these names."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = sorted(services)

    def handlers(self) -> Mapping[str, Any]:
        """The methods by name, as grpc takes them."""
        return {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self.answer,
                request_deserializer=_messages.ServerReflectionRequest.FromString,
                response_serializer=_messages.ServerReflectionResponse.SerializeToString,
            )
        }

    async def answer(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Any]:
        """One answer for each question."""
        async for request in requests:
            reply = _messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._fill(reply, request)
            yield reply

    def _fill(self, reply: Any, request: Any) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                reply.list_services_response.service.extend(
                    _messages.ServiceResponse(name=name) for name in self._services
                )
            case "file_by_filename":
                _give_file(reply, request.file_by_filename)
            case "file_containing_symbol":
                _give_file(reply, _file_name(request.file_containing_symbol))
            case _:
                reply.error_response.error_code = _UNIMPLEMENTED
                reply.error_response.error_message = "The messages of this server have no extensions."


def _file_name(symbol: str) -> str:
    try:
        return str(file_of(symbol).name)
    except KeyError:
        return symbol


def _give_file(reply: Any, name: str) -> None:
    file = files().get(name)
    if file is None:
        reply.error_response.error_code = _NOT_FOUND
        reply.error_response.error_message = f"There is no {name} here."
    else:
        reply.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
