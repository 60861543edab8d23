"""What every call of the gRPC port has in common: its time, and how it fails."""

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from clipper.errors import ClipperError, InternalError, InvalidRequest

log = logging.getLogger(__name__)

Context = Any
"""grpc.aio.ServicerContext, of bytes in and bytes out."""
Handler = Callable[[bytes, Context], Awaitable[bytes]]


def time_left_ms(context: Context) -> float | None:
    """What the client waits for at most, in milliseconds; None: as long as it takes."""
    left_s: float | None = context.time_remaining()
    if left_s is None or left_s > 1e9:  # noqa: PLR2004  # the core's way to say forever
        return None
    return max(left_s * 1e3, math.ulp(0.0))


def parse(message_class: Any, data: bytes) -> Any:
    """The message that the bytes stand for.

    Raises:
        InvalidRequest: They are none.
    """
    try:
        return message_class.FromString(data)
    except DecodeError:
        name = message_class.DESCRIPTOR.full_name
        raise InvalidRequest(f"The request is no message of type {name}.") from None


def as_ours(failure: Exception, refused: Counter[str]) -> ClipperError:
    """A failure as an error for the caller, counted; what is not ours goes to the log."""
    if isinstance(failure, ClipperError):
        refused[failure.code] += 1
        return failure
    log.error("A call failed in the server.", exc_info=failure)
    refused[InternalError.code] += 1
    return InternalError("The server failed to take this request; its log has the details.")


async def abort(context: Context, error: ClipperError) -> NoReturn:
    """End the call with an error; raises."""
    metadata = [("clipper-code", error.code)]
    if error.retry_after_s is not None:
        metadata.append(("retry-after-ms", str(max(1, round(error.retry_after_s * 1e3)))))
    await context.abort(grpc.StatusCode[error.grpc_status], error.message, tuple(metadata))
    raise AssertionError("grpc has raised.")  # for the type checker
