"""The admin API as a FastAPI application."""

from fastapi import FastAPI

from clipper_container.version import __version__
from clipper_frontends.rest.admin import (
    applications,
    artifacts,
    feedback,
    models,
    replicas,
    selection,
    status,
    versions,
)
from clipper_frontends.rest.admin.access import Access
from clipper_frontends.rest.admin.context import AdminContext
from clipper_frontends.rest.admin.guard import Guard
from clipper_frontends.rest.admin.schemas import ErrorBody
from clipper_frontends.rest.docs_page import add_docs
from clipper_frontends.rest.failures import answer_failures

_FAILURES = (400, 401, 403, 404, 405, 409, 413, 415, 503)


def create_admin_app(context: AdminContext) -> FastAPI:
    """The admin API over ``context``. It has no state of its own: all is read from and written to the store."""
    app = FastAPI(
        title="Clipper admin API",
        version=__version__,
        description="Applications, models, versions and their replicas. Every change is made in the store; "
        "the controller and every frontend follow it.",
        responses={status: {"model": ErrorBody} for status in _FAILURES},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    for module in (applications, selection, feedback, models, versions, artifacts, replicas, status):
        app.include_router(module.router, prefix="/admin")
    answer_failures(app, "Queries go to the query port; GET /admin/status has its address.")
    add_docs(app)
    settings = context.settings
    app.add_middleware(
        Guard,
        access=Access(
            hosts=frozenset(name.lower() for name in (settings.admin_host, *settings.admin_hosts)),
            token=settings.admin_token.get_secret_value() if settings.admin_token else None,
        ),
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.request_timeout_s,
    )
    return app
