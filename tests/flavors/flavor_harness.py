"""Models of frameworks, packaged as a user's would be and served by a replica in a process of its own."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rpc_harness import Client, ReplicaProcess

from clipper.inputs import encode_input
from clipper.packaging import package
from clipper.tensors import parse_tensors
from clipper_container.layout import Layout
from clipper_container.wire import ItemError

WAIT_S = 120.0
"""A framework takes seconds to import, and many on a machine that does other things."""

REQUIRED = bool(os.environ.get("FRAMEWORKS_REQUIRED"))
"""Set by `make test-frameworks`, which installs them: there a framework that is missing is a failure."""


def needs(*modules: str) -> Callable[[Any], Any]:
    """Marks a test of a framework; without it the test is skipped with the reason."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    skip = pytest.mark.skipif(
        bool(missing) and not REQUIRED, reason=f"{', '.join(missing)} not installed: make test-frameworks"
    )

    def mark(test: Any) -> Any:
        return pytest.mark.frameworks(pytest.mark.timeout(180)(skip(test)))

    return mark


def unpacked(folder: Path, model: Any, **how: Any) -> tuple[Path, dict[str, Any]]:
    """The artifact of a model as a replica finds it, and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    packaged = package(model, folder, **how)
    artifact = folder / "artifact"
    with tarfile.open(packaged.tar) as archive:
        archive.extractall(artifact, filter="data")
    return artifact, json.loads((artifact / "manifest.json").read_text())


_LOAD = """
import sys
from pathlib import Path
from clipper_container.flavors import LoadContext, find_flavor
from clipper_container.manifest import read_manifest
directory = Path(sys.argv[1])
manifest = read_manifest(directory)
loaded = find_flavor(manifest.flavor)(
    LoadContext(directory, manifest, manifest.input_type, manifest.method, int(sys.argv[2]))
)
"""


def after_loading(artifact: Path, threads: int, statement: str) -> str:
    """What ``statement`` prints in a process that has loaded the artifact with so many threads."""
    command = [sys.executable, "-c", _LOAD + statement, str(artifact), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return done.stdout.strip()


class Served:
    """One replica and a link to it."""

    def __init__(self, folder: Path, artifact: Path, manifest: dict[str, Any], *arguments: str) -> None:
        self.manifest = manifest
        where = ["--artifact", str(artifact), "--replica", "r1"]
        self.replica = ReplicaProcess(folder, f"unix:{folder}/s", [*where, *arguments])
        self._client = Client(self.replica.address, "r1")

    async def ready(self) -> Any:
        """Waits until it serves; returns its hello."""
        event = await self._first("ready", "failed")
        assert event[0] == "ready", event[1]
        return self._client.link.hello

    async def failure(self) -> str:
        """Waits until it has failed; returns the sentence."""
        event = await self._first("failed", "ready")
        assert event[0] == "failed"
        return event[1]

    async def ask(self, *inputs: Any, timeout_s: float = WAIT_S) -> list[Any]:
        """The outputs of one batch, decoded; errors as they came."""
        tensors = self.manifest.get("inputs")
        layout = Layout(parse_tensors(tensors)) if tensors else None
        rows = [encode_input(self.manifest["input_type"], x, layout=layout) for x in inputs]
        async with asyncio.timeout(WAIT_S):
            outputs = await self._client.ask(*rows, timeout_s=timeout_s)
        return [output if isinstance(output, ItemError) else json.loads(output) for output in outputs]

    def log_text(self) -> str:
        return self.replica.log_path.read_text()

    async def _first(self, *kinds: str) -> tuple[Any, ...]:
        seen = self._client.seen
        async with asyncio.timeout(WAIT_S):
            while not (found := [event for event in seen.events if event[0] in kinds]):
                seen._pulse.clear()
                await seen._pulse.wait()
        return found[0]

    async def end(self) -> None:
        self._client.link.close()
        if self.replica.process.poll() is None:
            self.replica.kill()
        await self.replica.exit_code()
        dials = [task for task in asyncio.all_tasks() if task.get_name().startswith("dial ")]
        await asyncio.gather(*dials, return_exceptions=True)
