"""Models, and which of their versions has the traffic."""

from typing import Any

from fastapi import APIRouter

from clipper.control import desired
from clipper.domain import Model
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.measurements import measured_versions
from clipper_frontends.rest.admin.schemas import Deleted, ModelInfo, Promotion, patch_of
from clipper_frontends.rest.admin.views import model_info

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
async def list_models(context: Context) -> list[ModelInfo]:
    """Every model with its versions."""
    snapshot = await context.store.snapshot()
    measured = measured_versions(context)
    return [model_info(snapshot, name, measured) for name in snapshot.desired.models]


@router.get("/{model}")
async def get_model(context: Context, model: str) -> ModelInfo:
    """One model with its versions."""
    return model_info(await context.store.snapshot(), model, measured_versions(context))


@router.patch("/{model}", openapi_extra=patch_of(Model, desired.PATCHABLE_MODEL_FIELDS))
async def patch_model(context: Context, model: str, patch: dict[str, Any]) -> ModelInfo:
    """``{"keep_warm": 2}``: how many earlier versions stay ready for a rollback."""
    snapshot = await context.change(lambda d, _revision: desired.patch_model(d, model, patch))
    return model_info(snapshot, model, measured_versions(context))


@router.delete("/{model}")
async def delete_model(context: Context, model: str) -> Deleted:
    """Stop every version and forget the model. Refused while an application links it."""
    await context.change(lambda d, _revision: desired.delete_model(d, model))
    return Deleted(deleted=model)


@router.put("/{model}/current")
async def promote(context: Context, model: str, promotion: Promotion) -> ModelInfo:
    """Give a version the traffic, to roll forward or back; the one that has it keeps it until this one is ready.

    With ``canary`` it gets a part first. Naming the version that has the traffic ends a canary, or takes back a
    promotion that is under way.
    """
    current = (await context.store.snapshot()).observed.current.get(model)
    snapshot = await context.change(
        lambda d, _revision: desired.promote(d, model, promotion.version, promotion.canary, current=current)
    )
    return model_info(snapshot, model, measured_versions(context))
