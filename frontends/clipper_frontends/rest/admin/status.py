"""The whole server at a glance."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from clipper.domain import Application
from clipper_container.version import __version__
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.schemas import ApplicationMeasurements, Status
from clipper_frontends.rest.admin.views import model_info

router = APIRouter(tags=["status"])


@router.get("/status", response_model=None, responses={200: {"model": Status}})
async def get_status(context: Context) -> JSONResponse:
    """Addresses, readiness, applications with their rates and latencies, versions with their state, replicas."""
    snapshot = await context.store.snapshot()
    engine = context.engine.status()
    addresses = context.addresses()
    return JSONResponse(
        {
            "query": addresses.get("query"),
            "admin": addresses.get("admin"),
            "grpc": addresses.get("grpc"),
            "version": __version__,
            "ready": engine["ready"],
            "reason": engine["reason"],
            "revision": snapshot.revision,
            "applications": [
                _application(app, engine["applications"].get(app.name, {}))
                for app in snapshot.desired.applications.values()
            ],
            "models": [
                model_info(snapshot, name, engine["versions"]).model_dump(mode="json")
                for name in snapshot.desired.models
            ],
            "replicas": [replica.model_dump(mode="json") for replica in snapshot.observed.replicas.values()],
        }
    )


def _application(application: Application, measured: Mapping[str, Any]) -> dict[str, Any]:
    return application.to_json() | {
        "measured": ApplicationMeasurements.model_validate(measured).model_dump(mode="json")
    }
