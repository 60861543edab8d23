"""Settings of a server: flags > ``CLIPPER_*`` environment > file > defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(BaseSettings):
    """What ``clipper up`` can be told. Flags are passed as keyword arguments; ``None`` means not given."""

    model_config = SettingsConfigDict(env_prefix="CLIPPER_", extra="forbid", frozen=True)

    data_dir: Path = Path(".clipper")
    store: str = "sqlite"
    manager: Literal["process", "docker"] = "process"
    frontends: Annotated[int, Field(ge=1, le=64)] = 1

    host: str = "127.0.0.1"
    admin_host: str = "127.0.0.1"
    query_port: Port = 1337
    admin_port: Port = 1338
    grpc_port: Port = 1339
    admin_token: SecretStr | None = None
    admin_hosts: tuple[str, ...] = ()
    """Further names under which the admin API may be addressed (the Host header), besides its own and loopback."""

    oip_repository: Literal["admin", "open"] = "admin"
    """Who may load and unload models over the query ports: who has the admin token, or whoever reaches them."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    max_header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 64 << 10
    max_artifact_bytes: Annotated[int, Field(ge=1024, le=1 << 40)] = 8 << 30
    keep_alive_s: Seconds = 75.0
    request_timeout_s: Seconds = 30.0
    """How long a request may take to arrive in full."""

    cache_bytes: Annotated[int, Field(ge=0, le=1 << 44)] = 256 << 20
    max_queue_length: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    reply_margin_ms: Annotated[float, Field(ge=0, le=1000)] = 1.0

    feedback_retention_s: Annotated[float, Field(ge=60, le=315_360_000)] = 2_592_000.0
    """How long feedback is kept, and how old a query may be that feedback names."""

    max_user_bytes: Annotated[int, Field(ge=0, le=1 << 44)] = 128 << 20
    """What is held of the users that came last; all of them are in the store."""
    max_output_bytes: Annotated[int, Field(ge=0, le=1 << 44)] = 64 << 20
    """What is held of outputs that came too late, or are too large, for a query's id."""

    reconcile_interval_s: Seconds = 1.0
    orphan_timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 600.0
    drain_delay_s: Seconds = 0.0
    """Between not ready and not accepting, for a load balancer to notice."""
    shutdown_grace_s: Seconds = 30.0

    docker_base_image: str = "python:{python}-slim"
    """What the images are built on; ``{python}`` becomes the Python that the model was saved with, as in 3.11."""
    docker_image_prefix: str = ""
    """Where ready images are pulled from (``registry.example.com/ml/``); without it they are built on the engine."""
    docker_wheels: Path | None = None
    """A directory of wheels that images are built from instead of the package index."""
    docker_network: str | None = None
    """A network that this server is in itself, for the replicas; by default they get a private one of their own."""
    docker_reach: Literal["auto", "direct", "published"] = "auto"
    """Whether replicas are dialled at their own address or at a port of the engine's host."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then the file (see `load`)."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load(config: Path | None = None, **flags: Any) -> Settings:
    """Settings from the flags that were given, the environment and the file ``config``, in that order of precedence.

    Raises:
        pydantic.ValidationError: A value is out of its range or a name in the file is unknown.
    """
    given = {name: value for name, value in flags.items() if value is not None}

    class FromFile(Settings):
        model_config = SettingsConfigDict(yaml_file=config)

    return FromFile(**given)
