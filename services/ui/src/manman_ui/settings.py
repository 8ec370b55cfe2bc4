"""What the web UI reads from its environment."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from manman.settings import RpcClientSettings, RuntimeSettings


class Settings(RuntimeSettings, RpcClientSettings):
    """Where to listen, where the API is, and how often to look at it while somebody watches."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - browsers come from outside the container
        description="address the pages are served on",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="port the pages are served on; 0 picks a free one")
    api_address: str = Field(
        default="localhost:50051",
        min_length=1,
        validation_alias=AliasChoices("control_api_url", "api_address"),
        description="host:port of the API's gRPC port, https:// in front turns TLS on",
    )
    live_interval_seconds: float = Field(
        default=1.0, gt=0.05, le=60, description="how often the API is asked for changes while somebody looks"
    )
    max_viewers: int = Field(
        default=500, ge=1, description="pages and consoles that may follow live at once; more get the page as it is"
    )
