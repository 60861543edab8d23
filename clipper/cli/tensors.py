"""``--input`` and ``--output``, wherever tensors are described."""

from typing import Annotated

import typer

Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="TENSOR",
        help="A tensor of a query, of the input type tensors: 'image FP32[28, 28]', -1 for any size; several times.",
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option("--output", metavar="TENSOR", help="A tensor of an answer, written alike: 'scores FP32[10]'."),
]
