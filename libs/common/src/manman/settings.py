"""Typed pieces of configuration, read from the environment once, at start.

A *fragment* is a frozen set of variables that one shared part needs. Each service's own `settings.py` has one
class that inherits the fragments it needs and adds its own variables; the name of a variable is the field's name in
upper case. An empty variable counts as not set.

Not here: what a service does with bad settings (`manman.service.read_settings` prints them and exits).
"""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError


class Fragment(BaseSettings):
    """Root of all fragments: frozen, case-insensitive, unknown variables ignored, values never shown in errors."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    @classmethod
    def from_environment(cls) -> Self | list[str]:
        """Read the environment; return the settings, or one line per bad variable."""
        try:
            return cls()
        except ValidationError as error:
            return explain(error, cls)
        except SettingsError as error:
            return [str(error)]


class RuntimeSettings(Fragment):
    """What every process has: its log and its probes."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important level that is written: debug, info, warning or error"
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="json (one object a line) or console (coloured, for people)"
    )
    health_check_port: int = Field(
        default=8080, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 picks a free one"
    )
    health_check_host: str = Field(
        default="0.0.0.0",  # noqa: S104 - probes come from outside the container
        description="address the probes listen on",
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class DatabaseSettings(Fragment):
    """Where Postgres is: `PG_DATABASE_URL`, or its parts `DB_*` when the URL is not set."""

    pg_database_url: SecretStr | None = Field(
        default=None, description="postgresql://user:password@host:port/database; wins over DB_*"
    )
    db_host: str = Field(default="localhost", description="host name or socket directory of Postgres")
    db_port: int = Field(default=5432, ge=1, le=65535, description="port of Postgres")
    db_user: str = Field(default="postgres", description="role to log in as")
    db_password: SecretStr = Field(default=SecretStr(""), description="password of that role")
    db_name: str = Field(default="manman", description="database name")
    db_ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="libpq's sslmode"
    )
    db_pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        description="connections kept open for transactions; at most as many for reads, and for batches of reports",
    )
    db_pool_overflow: int = Field(
        default=0,
        ge=0,
        le=200,
        description="connections opened on top of it under load, and closed again after each use",
    )
    db_pool_timeout_seconds: float = Field(default=10.0, gt=0, description="how long to wait for a free connection")
    db_connect_timeout_seconds: int = Field(default=5, ge=1, description="how long opening a connection may take")
    db_statement_timeout_seconds: float = Field(default=30.0, gt=0, description="Postgres ends a longer statement")
    db_lock_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Postgres ends a statement that waits longer for a row that another one holds"
    )
    db_idle_transaction_timeout_seconds: float = Field(
        default=60.0, gt=0, description="Postgres ends a connection that does nothing for longer within a transaction"
    )

    @field_validator("pg_database_url")
    @classmethod
    def _is_a_postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError(f"the scheme is {parts.scheme or 'missing'!r}, it must be postgresql")
        if not parts.path.strip("/"):
            raise ValueError("it names no database")
        return value

    @property
    def psycopg_url(self) -> str:
        """The URL libpq reads: `postgresql://…`."""
        if self.pg_database_url is not None:
            _, _, rest = self.pg_database_url.get_secret_value().partition("://")
            return f"postgresql://{rest}"
        password = self.db_password.get_secret_value()
        login = quote(self.db_user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = quote(self.db_host, safe="")
        return f"postgresql://{login}@{host}:{self.db_port}/{quote(self.db_name, safe='')}?sslmode={self.db_ssl_mode}"

    @property
    def sqlalchemy_url(self) -> str:
        """The URL SQLAlchemy reads: the psycopg 3 driver is named, and a socket directory is where it looks for one."""
        parts = urlsplit(self.psycopg_url)
        login, at, address = parts.netloc.rpartition("@")
        host, _, port = address.partition(":")
        query = [parts.query]
        if unquote(host).startswith("/"):  # libpq finds it in the host's place, too
            query += [f"host={host}", f"port={port}" if port else ""]
            address = ""
        rest = "&".join(filter(None, query))
        return f"postgresql+psycopg://{login}{at}{address}{parts.path}" + (f"?{rest}" if rest else "")


class BusSettings(Fragment):
    """Where RabbitMQ is, and the exchange that outsiders subscribe to."""

    rabbitmq_url: SecretStr = Field(
        default=SecretStr("amqp://guest:guest@localhost:5672/"),
        description="amqp:// or amqps://user:password@host:port/vhost",
    )
    rabbitmq_ssl_verify: bool = Field(default=True, description="verify the broker's certificate (amqps only)")
    rabbitmq_ca_cert_path: str = Field(default="", description="CA file for amqps; empty: the system's")
    rabbitmq_tls_server_name: str = Field(default="", description="name expected in the broker's certificate")
    rabbitmq_heartbeat_seconds: int = Field(
        default=5, ge=1, le=600, description="AMQP heartbeat; a silent broker is given up after about four times this"
    )
    external_exchange: str = Field(
        default="external", min_length=1, max_length=127, description="exchange that carries manman.* events"
    )

    @field_validator("rabbitmq_url")
    @classmethod
    def _is_an_amqp_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"amqp", "amqps"}:
            raise ValueError(f"the scheme is {parts.scheme or 'missing'!r}, it must be amqp or amqps")
        if not parts.hostname:
            raise ValueError("it names no host")
        return value


class RpcClientSettings(Fragment):
    """Where the API's gRPC port is and how to trust it."""

    api_address: str = Field(
        default="localhost:50051", min_length=1, description="host:port of the API, https:// in front turns TLS on"
    )
    api_use_tls: bool | None = Field(default=None, description="force TLS on or off; unset: from API_ADDRESS")
    api_tls_skip_verify: bool = Field(default=False, description="accept any certificate (never in production)")
    api_ca_cert_path: str = Field(default="", description="CA file for the API's certificate; empty: the system's")
    api_tls_server_name: str = Field(default="", description="name expected in the API's certificate")
    api_client_cert_path: str = Field(default="", description="certificate to show to an API that asks for one (mTLS)")
    api_client_key_path: str = Field(default="", description="private key of that certificate")
    api_timeout_seconds: float = Field(default=10.0, gt=0, description="deadline of one call")
    grpc_auth_token: SecretStr = Field(
        default=SecretStr(""), description="API token sent with every call, mm_...; empty: none (GRPC_AUTH_MODE=none)"
    )


class TracingSettings(Fragment):
    """Where traces go, if anywhere: any OpenTelemetry collector."""

    otel_exporter_otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s/]+/?)?$",
        description="OTLP gRPC collector of traces, such as http://localhost:4317, or https: for TLS; empty: no traces",
    )
    otel_sdk_disabled: bool = Field(default=False, description="no traces, whatever the endpoint")
    otel_traces_disabled: bool = Field(default=False, description="the same")
    otel_traces_sampler_arg: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the traces beginning in this process that is kept; the others go on as they began",
    )

    @property
    def traces_are_on(self) -> bool:
        """Whether there is a collector, and nobody has switched traces off."""
        return bool(self.otel_exporter_otlp_endpoint) and not (self.otel_sdk_disabled or self.otel_traces_disabled)


class ObjectStoreSettings(Fragment):
    """Where archives and backups go: any S3 service."""

    s3_bucket: str = Field(default="manman-logs", min_length=3, max_length=63, description="bucket for everything")
    s3_region: str = Field(default="us-east-1", description="region used in signatures")
    s3_endpoint: str = Field(default="", description="http(s)://host:port of the S3 service; empty: AWS")
    s3_public_endpoint: str = Field(
        default="", description="the endpoint as browsers and hosts see it; empty: the same"
    )
    s3_access_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("s3_access_key", "aws_access_key_id"),
        description="access key id",
    )
    s3_secret_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("s3_secret_key", "aws_secret_access_key"),
        description="secret access key",
    )


def explain(error: ValidationError, settings: type[BaseSettings]) -> list[str]:
    """Return one line per bad variable: its name, what is wrong, and what belongs there. Never the value itself."""
    return [_line(str(part["loc"][0]) if part["loc"] else "", part, settings) for part in error.errors()]


def _line(name: str, part: object, settings: type[BaseSettings]) -> str:
    details = part if isinstance(part, dict) else {}
    field = settings.model_fields.get(name.lower())
    meaning = f"; it means: {field.description}" if field is not None and field.description else ""
    variable = name.upper() or "settings"
    if details.get("type") == "missing":
        return f"{variable} is not set: set it{meaning}"
    reason = str(details.get("msg", "is not valid")).removeprefix("Value error, ")
    return f"{variable} is not valid: {reason}{meaning}"
