"""What a process of the load generator says to the one that started it: a line of JSON each, on standard output.

It is told, on standard input: its `Assignment`; when every process is ready, the moment of the monotonic clock at which
to start; and the end of the stream, should the run end before its time.
"""

from typing import TypeAlias

import msgspec

from clipper.loadgen.tally import Measured


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The server is reached, the inputs are there."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """There will be no run, because of an error with this code."""

    code: str
    error: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """What was measured since the last message. The end of the stream follows the last one."""

    measured: Measured


Message: TypeAlias = Ready | Failed | Progress

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Message).decode
