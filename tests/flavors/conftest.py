"""Serves models for a test and ends their replicas after it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from flavor_harness import Served, unpacked


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Packages a model and serves it; ``arguments`` go to the runtime, ``edit`` changes the manifest before."""
    all_served: list[Served] = []

    def start(model: Any, *arguments: str, artifact: Path | None = None, **how: Any) -> Served:
        folder = tmp_path / f"served{len(all_served)}"
        made, manifest = unpacked(folder, model, **how)
        served = Served(folder, artifact or made, manifest, *arguments)
        all_served.append(served)
        return served

    yield start
    for served in all_served:
        await served.end()
