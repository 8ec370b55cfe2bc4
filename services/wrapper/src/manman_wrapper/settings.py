"""What a wrapper is told when its container is made; the only reader of the environment in this service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from manman.settings import Fragment


class Settings(Fragment):
    """One wrapper serves one session; its host sets all of these."""

    session_id: int = Field(ge=1, description="the session this wrapper serves")
    sgc_id: int = Field(default=0, ge=0, description="the deployment of that session")
    server_id: int = Field(default=0, ge=0, description="the server it runs on")
    wrapper_socket: str = Field(
        default="/session/w.sock", min_length=1, max_length=107, description="unix socket that this wrapper serves"
    )
    wrapper_token: SecretStr = Field(
        default=SecretStr(""), description="bearer token that callers must send; empty: whoever can open the socket may"
    )
    data_dir: str = Field(default="/session", min_length=1, description="folder for state.json, kept over restarts")
    docker_socket: str = Field(default="/var/run/docker.sock", min_length=1, description="unix socket of the engine")
    log_lines_per_second: int = Field(
        default=5000, ge=1, description="lines of one second beyond this are dropped, with one line saying how many"
    )
    log_tail_lines: int = Field(default=20_000, ge=10, description="how many lines are kept for a host that was away")
    log_tail_bytes: int = Field(default=8_000_000, ge=100_000, description="how many bytes those lines may take")
    log_level: str = Field(default="info", description="the least important level that is written")
    log_format: str = Field(default="json", description="json or console")
