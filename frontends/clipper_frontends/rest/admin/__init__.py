"""The admin REST API: applications, models, versions, replicas, status. Closed to browsers and strangers."""

from clipper_frontends.rest.admin.app import create_admin_app
from clipper_frontends.rest.admin.context import AdminContext

__all__ = ["AdminContext", "create_admin_app"]
