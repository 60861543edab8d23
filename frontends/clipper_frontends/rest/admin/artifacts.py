"""Artifacts, for the hosts that need them."""

from fastapi import APIRouter
from starlette.responses import FileResponse

from clipper_frontends.rest.admin.context import Context

router = APIRouter(prefix="/artifacts", tags=["artifacts"])


@router.get("/{digest}", response_class=FileResponse)
async def get_artifact(context: Context, digest: str) -> FileResponse:
    """The tar, as it was uploaded."""
    return FileResponse(context.artifacts.tar_path(digest), media_type="application/x-tar")
