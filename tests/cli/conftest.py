import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import clipper


@pytest.fixture(scope="session")
def server() -> Iterator[clipper.Connection]:
    with clipper.local() as connection:
        yield connection


@pytest.fixture
def run(server, tmp_path):
    """Run the real command against the server, in an empty directory."""

    def command(*arguments: str, url: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPPER_")}
        kept |= {"CLIPPER_URL": url or server.session.admin_url, **environment}
        return subprocess.run(
            [sys.executable, "-m", "clipper", *arguments],
            env=kept,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return command
