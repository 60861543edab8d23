"""What configuration is made of: frozen values, and the names and numbers in them, taken as they are written."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_NAME_CHARS = 63
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_CHARS)]
VersionName = Annotated[Name, BeforeValidator(lambda v: str(v) if type(v) is int else v)]


def _unconverted(value: Any) -> Any:
    if isinstance(value, bool | str | bytes):
        raise PydanticCustomError("number_type", "must be a number")
    return value


Count = Annotated[int, BeforeValidator(_unconverted)]
Number = Annotated[float, BeforeValidator(_unconverted)]
Flag = Annotated[bool, Field(strict=True)]
"""What a user sends is not converted: neither true nor "2" is a number; 2.0 is one, and whole."""


class Frozen(BaseModel):
    """A configuration value: unknown fields are refused, nothing changes after it is built."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
