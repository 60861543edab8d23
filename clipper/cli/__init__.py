"""The ``clipper`` command."""


def main() -> int:
    """Run the command that the arguments name; the exit code is 0 done, 1 refused, 2 bad usage, 3 cannot reach."""
    from clipper.cli.app import run  # noqa: PLC0415 (importing the package alone should cost nothing)

    return run()
