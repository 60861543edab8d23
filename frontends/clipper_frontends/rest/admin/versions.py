"""Versions of a model: deployed, looked at, changed, removed."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from clipper.control import desired
from clipper.control.artifacts import Artifact
from clipper.control.lookup import stillborn_generation
from clipper.domain import Desired, VersionSpec
from clipper.errors import InvalidRequest, UnsupportedMediaType
from clipper.frozen import Name
from clipper.json_encoding import decode
from clipper.validation import validated
from clipper_frontends.rest.admin.access import MULTIPART
from clipper_frontends.rest.admin.context import AdminContext, Context
from clipper_frontends.rest.admin.measurements import measured_versions
from clipper_frontends.rest.admin.multipart import parts
from clipper_frontends.rest.admin.schemas import Deleted, VersionInfo, patch_of
from clipper_frontends.rest.admin.views import model_info, version_info
from clipper_frontends.rest.limits import MAX_SPEC_BYTES

router = APIRouter(prefix="/models/{model}/versions", tags=["versions"])

_UPLOAD_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": VersionSpec.model_json_schema(ref_template="#/components/schemas/{model}"),
                        "artifact": {
                            "type": "string",
                            "format": "binary",
                            "description": "A tar with manifest.json at its top; the flavor noop needs none.",
                        },
                    },
                }
            }
        },
    }
}

_PATCH = patch_of(VersionSpec, desired.PATCHABLE_VERSION_FIELDS, wanted={"const": False})


@router.get("")
async def list_versions(context: Context, model: str) -> list[VersionInfo]:
    """Every version of the model, in the order of their creation."""
    return model_info(await context.store.snapshot(), model, measured_versions(context)).versions


@router.post("", status_code=201, openapi_extra=_UPLOAD_SCHEMA)
async def create_version(context: Context, model: Name, request: Request) -> VersionInfo:
    """Deploy a version: ``spec`` (JSON) first, then ``artifact`` (tar). Its state tells when it is ready.

    A version of this name that failed without ever having had the traffic is replaced.
    """
    spec, artifact = await _receive(context, model, request)
    observed = (await context.store.snapshot()).observed

    def create(wanted: Desired, revision: int) -> Desired:
        return desired.create_version(
            wanted,
            model,
            spec,
            generation=revision,
            digest=artifact.digest if artifact else None,
            manifest=artifact.manifest if artifact else {},
            now=context.wall_clock(),
            replaceable=stillborn_generation(observed, model, spec.version),
            current=observed.current.get(model),
        )

    snapshot = await context.change(create)
    return version_info(snapshot, model, spec.version, measured_versions(context))


@router.get("/{version}")
async def get_version(context: Context, model: str, version: str) -> VersionInfo:
    """One version with its state."""
    snapshot = await context.store.snapshot()
    await context.in_effect(snapshot.revision)
    return version_info(snapshot, model, version, measured_versions(context))


@router.patch("/{version}", openapi_extra=_PATCH)
async def patch_version(context: Context, model: str, version: str, patch: dict[str, Any]) -> VersionInfo:
    """Replace ``replicas``, ``batching``, ``caching`` or ``limits``; ``{"wanted": false}`` stops the version."""
    current = (await context.store.snapshot()).observed.current.get(model)
    snapshot = await context.change(lambda d, _revision: _patched(d, model, version, patch, current))
    return version_info(snapshot, model, version, measured_versions(context))


@router.delete("/{version}")
async def delete_version(context: Context, model: str, version: str) -> Deleted:
    """Stop the version and forget it. Refused while an application needs it."""
    current = (await context.store.snapshot()).observed.current
    await context.change(lambda d, _revision: desired.delete_version(d, model, version, current=current))
    return Deleted(deleted=f"{model}:{version}")


def _patched(wanted: Desired, model: str, version: str, patch: Mapping[str, Any], current: str | None) -> Desired:
    fields = {name: value for name, value in patch.items() if name != "wanted"}
    if fields or not patch:
        wanted = desired.patch_version(wanted, model, version, fields)
    if "wanted" in patch:
        if patch["wanted"] is not False:
            raise InvalidRequest("'wanted' can be set to false, which stops the version; promoting it starts it again.")
        wanted = desired.stop_version(wanted, model, version, current=current)
    return wanted


async def _receive(context: AdminContext, model: str, request: Request) -> tuple[VersionSpec, Artifact | None]:
    """The two parts of a deployment; the artifact goes to disk as it arrives."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith(MULTIPART):
        raise UnsupportedMediaType(f"A deployment is {MULTIPART} with the parts 'spec' and 'artifact'.")
    max_bytes = context.settings.max_artifact_bytes
    spec: VersionSpec | None = None
    artifact: Artifact | None = None
    async for part in parts(content_type, request.stream()):
        if part.name == "spec" and spec is None:
            said = decode(await part.read(MAX_SPEC_BYTES), "The part 'spec'")
            spec = validated(VersionSpec, said, "the part 'spec'")
            await _refuse_existing(context, model, spec.version)
        elif part.name == "artifact" and artifact is None:
            artifact = await context.artifacts.put(part.chunks, max_bytes)
        else:
            raise InvalidRequest(f"A deployment has one part 'spec' and one part 'artifact'; '{part.name}' came.")
    if spec is None:
        raise InvalidRequest("The part 'spec' is missing: JSON with at least 'version' and 'input_type'.")
    return spec, artifact


async def _refuse_existing(context: AdminContext, model: str, version: str) -> None:
    """Before gigabytes are sent in vain; the store decides when it comes to it."""
    snapshot = await context.store.snapshot()
    replaceable = stillborn_generation(snapshot.observed, model, version)
    desired.refuse_existing_version(snapshot.desired, model, version, replaceable=replaceable)
