"""What a wrapper is told when its container is made; the only reader of the environment in this service.

The rules are those of `manman.settings`: a variable is the field's name in upper case, an empty one counts as not set,
every problem is told at once, and never with the value. But there is a wrapper for each session, and pydantic would
be a quarter of its memory (docs/adr/0026): this is a dataclass, which msgspec checks.
"""

from __future__ import annotations

import os
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Self, get_type_hints

import msgspec
from msgspec import Meta


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One wrapper serves one session; its host sets all of these."""

    session_id: Annotated[int, Meta(ge=1, description="the session this wrapper serves")]
    sgc_id: Annotated[int, Meta(ge=0, description="the deployment of that session")] = 0
    server_id: Annotated[int, Meta(ge=0, description="the server it runs on")] = 0
    wrapper_socket: Annotated[
        str, Meta(min_length=1, max_length=107, description="unix socket that this wrapper serves")
    ] = "/session/w.sock"
    wrapper_token: Annotated[
        str, Meta(description="bearer token that callers must send; empty: whoever can open the socket may")
    ] = field(default="", repr=False)
    data_dir: Annotated[str, Meta(min_length=1, description="folder for state.json, kept over restarts")] = "/session"
    docker_socket: Annotated[str, Meta(min_length=1, description="unix socket of the engine")] = "/var/run/docker.sock"
    log_lines_per_second: Annotated[
        int, Meta(ge=1, description="lines of one second beyond this are dropped, with one line saying how many")
    ] = 5000
    log_tail_lines: Annotated[int, Meta(ge=10, description="how many lines are kept for a host that was away")] = 20_000
    log_tail_bytes: Annotated[int, Meta(ge=100_000, description="how many bytes those lines may take")] = 8_000_000
    log_level: Annotated[
        str,
        Meta(
            pattern="^(debug|info|warning|error)$",
            description="the least important level that is written: debug, info, warning or error",
        ),
    ] = "info"
    log_format: Annotated[
        str, Meta(pattern="^(json|console)$", description="json (one object a line) or console (coloured, for people)")
    ] = "json"

    @classmethod
    def from_environment(cls) -> Self | list[str]:
        """Read the environment; return the settings, or one line per bad variable: its name, what is wrong, its use."""
        kinds = get_type_hints(cls, include_extras=True)
        given, problems = {}, []
        for one in fields(cls):
            name, kind = one.name.upper(), kinds[one.name]
            meaning = f"it means: {kind.__metadata__[0].description}"
            if text := os.environ.get(name, ""):  # noqa: TID251 - this is where it is read
                try:
                    given[one.name] = msgspec.convert(text, kind, strict=False)
                except msgspec.ValidationError as error:
                    problems.append(f"{name} is not valid: {error}; {meaning}")
            elif one.default is MISSING:
                problems.append(f"{name} is not set: set it; {meaning}")
        return problems or cls(**given)
