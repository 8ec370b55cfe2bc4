"""The settings of the api: the only reader of its environment."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from manman.domain.ports import PortRange, parse_ranges
from manman.errors import Invalid
from manman.settings import BusSettings, DatabaseSettings, RuntimeSettings, TracingSettings
from manman_api.oidc import read_roles

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


class Settings(RuntimeSettings, DatabaseSettings, BusSettings, TracingSettings):
    """Everything the api reads from its environment, once, at start."""

    port: int = Field(default=50051, ge=0, le=65535, description="gRPC port; 0 picks a free one")
    rest_port: int = Field(default=8080, ge=0, le=65535, description="REST port; 0 picks a free one")
    listen_host: str = Field(
        default="0.0.0.0",  # noqa: S104 - clients are on other machines
        description="address that gRPC and REST listen on",
    )
    health_check_port: int = Field(
        default=8081, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 picks a free one"
    )
    grpc_auth_mode: Literal["none", "token", "oidc"] = Field(
        default="none",
        description="who may call: none lets everybody in, for laptops only; token wants an API token; "
        "oidc wants an access token of GRPC_OIDC_ISSUER or an API token",
    )
    grpc_oidc_issuer: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="issuer URL, exactly as the tokens name it (oidc only)",
    )
    grpc_oidc_client_id: str = Field(default="", description="audience that access tokens must be for (oidc only)")
    grpc_oidc_roles: str = Field(
        default="manman-admin=admin,manman-operator=operator,manman-viewer=viewer,manman-host=host",
        description="which realm role of the issuer means which of ours (oidc only)",
    )
    rest_cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="origins whose web pages may call REST from a browser, exactly as browsers write them and with "
        "commas, such as https://games.example.org,http://localhost:3000; empty: none",
    )
    grpc_reflection: bool = Field(
        default=True, description="tell every gRPC client, unknown ones too, which calls there are"
    )
    grpc_tls_cert_path: str = Field(
        default="", description="certificate chain of the gRPC port, PEM; empty: no TLS. Read at start"
    )
    grpc_tls_key_path: str = Field(default="", description="private key of that certificate, PEM")
    grpc_tls_client_ca_path: str = Field(
        default="", description="only gRPC clients with a certificate of this authority get in (mTLS); empty: all"
    )
    default_port_range: str = Field(
        default="27000-27999",
        description="host ports for automatic choice on hosts that announce none, such as 27000-27999,30000-30010/UDP",
    )
    start_timeout_seconds: float = Field(
        default=60.0, gt=0, description="a host that takes a start command later than this drops it"
    )
    restart_interval_seconds: float = Field(
        default=1.0, gt=0, description="how often restarts that are due are sought and made"
    )
    restart_patience_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="how long a restart that is due waits for a host that is offline or draining",
    )
    input_timeout_seconds: float = Field(default=10.0, gt=0, description="how long to wait for a host to take input")
    log_idle_seconds: float = Field(
        default=1.0, gt=0, description="silence after which a log viewer's session is looked at again"
    )

    @field_validator("default_port_range")
    @classmethod
    def _is_a_port_range(cls, value: str) -> str:
        try:
            parse_ranges(value)
        except Invalid as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("rest_cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("rest_cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError("write each origin as scheme://host or scheme://host:port, without a path, and no *")
        return value

    @field_validator("grpc_oidc_roles")
    @classmethod
    def _are_pairs_of_roles(cls, value: str) -> str:
        read_roles(value)
        return value

    @model_validator(mode="after")
    def _knows_the_issuer(self) -> Settings:
        if self.grpc_auth_mode == "oidc" and not (self.grpc_oidc_issuer and self.grpc_oidc_client_id):
            raise ValueError("GRPC_AUTH_MODE=oidc needs GRPC_OIDC_ISSUER and GRPC_OIDC_CLIENT_ID")
        return self

    @model_validator(mode="after")
    def _has_a_whole_certificate(self) -> Settings:
        if bool(self.grpc_tls_cert_path) != bool(self.grpc_tls_key_path):
            raise ValueError("GRPC_TLS_CERT_PATH and GRPC_TLS_KEY_PATH belong together")
        if self.grpc_tls_client_ca_path and not self.grpc_tls_cert_path:
            raise ValueError("GRPC_TLS_CLIENT_CA_PATH needs GRPC_TLS_CERT_PATH")
        return self

    @property
    def port_ranges(self) -> tuple[PortRange, ...]:
        """The default port range, read."""
        return parse_ranges(self.default_port_range)
