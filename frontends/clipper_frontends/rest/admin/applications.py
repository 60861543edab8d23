"""Applications and their links."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from clipper.control import desired
from clipper.control.lookup import find_application
from clipper.domain import Application
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.schemas import Deleted, patch_of

router = APIRouter(prefix="/apps", tags=["applications"])
ONE: dict[int | str, dict[str, Any]] = {200: {"model": Application}}
CREATED: dict[int | str, dict[str, Any]] = {201: {"model": Application}}
PATCH = patch_of(Application, desired.PATCHABLE_APPLICATION_FIELDS)
MANY: dict[int | str, dict[str, Any]] = {200: {"model": list[Application]}}


def _answer(application: Application, status: int = 200) -> JSONResponse:
    """As its own JSON has it: without the default output where there is none."""
    return JSONResponse(application.to_json(), status)


@router.get("", response_model=None, responses=MANY)
async def list_applications(context: Context) -> JSONResponse:
    """Every application."""
    snapshot = await context.store.snapshot()
    return JSONResponse([app.to_json() for app in snapshot.desired.applications.values()])


@router.post("", status_code=201, response_model=None, responses=CREATED)
async def create_application(context: Context, application: Application) -> JSONResponse:
    """Register an application; queries are taken from then on."""
    snapshot = await context.change(lambda d, revision: desired.create_application(d, application, revision))
    return _answer(snapshot.desired.applications[application.name], 201)


@router.get("/{app}", response_model=None, responses=ONE)
async def get_application(context: Context, app: str) -> JSONResponse:
    """One application."""
    snapshot = await context.store.snapshot()
    return _answer(find_application(snapshot.desired, app))


@router.patch("/{app}", response_model=None, responses=ONE, openapi_extra=PATCH)
async def patch_application(context: Context, app: str, patch: dict[str, Any]) -> JSONResponse:
    """Replace the fields that the body names; the others stay."""
    snapshot = await context.change(lambda d, _revision: desired.patch_application(d, app, patch))
    return _answer(snapshot.desired.applications[app])


@router.delete("/{app}")
async def delete_application(context: Context, app: str) -> Deleted:
    """Remove an application; its models stay."""
    await context.change(lambda d, _revision: desired.delete_application(d, app))
    return Deleted(deleted=app)


@router.put("/{app}/links/{model}", response_model=None, responses=ONE)
async def link(context: Context, app: str, model: str) -> JSONResponse:
    """Let a model answer for the application."""
    snapshot = await context.change(lambda d, _revision: desired.link(d, app, model))
    return _answer(snapshot.desired.applications[app])


@router.delete("/{app}/links/{model}", response_model=None, responses=ONE)
async def unlink(context: Context, app: str, model: str) -> JSONResponse:
    """Let a model no longer answer for the application."""
    snapshot = await context.change(lambda d, _revision: desired.unlink(d, app, model))
    return _answer(snapshot.desired.applications[app])
