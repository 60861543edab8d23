"""What the engine measured, as the answers carry it."""

from collections.abc import Mapping
from typing import Any

from clipper_frontends.rest.admin.context import AdminContext


def measured_versions(context: AdminContext) -> Mapping[str, Mapping[str, Any]]:
    """By ``model:version``."""
    versions: Mapping[str, Mapping[str, Any]] = context.engine.status()["versions"]
    return versions
