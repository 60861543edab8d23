"""Replicas and what they printed."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from clipper.domain import Replica
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.schemas import Logs

router = APIRouter(prefix="/replicas", tags=["replicas"])

MAX_LINES = 10_000


@router.get("")
async def list_replicas(context: Context) -> list[Replica]:
    """Every replica that runs, or should and does not."""
    snapshot = await context.store.snapshot()
    return list(snapshot.observed.replicas.values())


@router.get("/{replica_id}/logs")
async def get_logs(context: Context, replica_id: str, lines: Annotated[int, Query(ge=1, le=MAX_LINES)] = 200) -> Logs:
    """The last lines that a replica printed, over its restarts."""
    text = await asyncio.to_thread(context.controller.logs, replica_id, lines)
    return Logs(replica_id=replica_id, logs=text)
