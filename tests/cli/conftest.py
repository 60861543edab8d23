import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import clipper
from clipper.cli import main


def of_ours(name: str) -> bool:
    """Whether the command would heed that variable; pytest's workers set the width of a terminal that is not there."""
    return name.startswith("CLIPPER_") or name == "COLUMNS"


@pytest.fixture(scope="session")
def server() -> Iterator[clipper.Connection]:
    with clipper.local() as connection:
        yield connection


@pytest.fixture
def run(server, tmp_path, capsys):
    """Run the command against the server, in an empty directory: in this process, where its imports cost once."""

    def command(*arguments: str, url: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name in filter(of_ours, list(os.environ)):
                patch.delenv(name)
            for name, value in {"CLIPPER_URL": url or server.session.admin_url, **environment}.items():
                patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["clipper", *arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as end:
                sys.exit(main())
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code or 0, out, err)

    return command


@pytest.fixture
def run_process(server, tmp_path):
    """Run the command as a shell does, in a process of its own."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not of_ours(name)}
        kept |= {"CLIPPER_URL": server.session.admin_url}
        command = [sys.executable, "-m", "clipper", *arguments]
        return subprocess.run(command, env=kept, cwd=tmp_path, capture_output=True, text=True, check=False)

    return command
