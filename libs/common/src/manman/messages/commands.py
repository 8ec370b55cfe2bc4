"""Commands: what the control plane tells a host to do, and the host's reply.

Everything in a command is final: templates are rendered, ports are chosen. A host looks nothing up to obey it.
Commands arrive at least once; a host recognises one it knows by `session_id`.
"""

from __future__ import annotations

import msgspec

from manman.messages.body import Body, Id, Moment

Scalar = str | bool | int | float


class PortBinding(Body, frozen=True, kw_only=True):
    """One published port; `protocol` is `TCP` or `UDP`."""

    container_port: int
    host_port: int
    protocol: str = "TCP"


class Volume(Body, frozen=True, kw_only=True):
    """One mount of the game container.

    `host_subpath` empty means "use the name"; `volume_type` empty means `bind`. Values of `options` are text on the
    wire; other scalars are accepted and turned into their JSON text (`true` becomes "true").
    """

    name: str
    container_path: str
    host_subpath: str = ""
    volume_type: str = ""
    options: dict[str, Scalar] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn the values of `options` into text."""
        texts: dict[str, Scalar] = {key: _text(value) for key, value in self.options.items()}
        msgspec.structs.force_setattr(self, "options", texts)

    @property
    def read_only(self) -> bool:
        """True when the game may only read it."""
        return self.options.get("read_only") == "true"


class File(Body, frozen=True, kw_only=True):
    """A file to write before the game starts; `path` is a container path, `mode` octal text (empty means 0644).

    With `merge` (properties or ini) the content is laid over the file as it is on the host; empty: it is the file.
    """

    path: str
    content: str = ""
    mode: str = ""
    is_template: bool = False
    merge: str = ""


class Parameter(Body, frozen=True, kw_only=True):
    """A parameter with the value it had when the command was rendered; informational."""

    key: str
    value: str = ""
    type: str = ""
    description: str = ""
    required: bool = False
    default_value: str = ""


class Resources(Body, frozen=True, kw_only=True):
    """Limits of the game container; 0 means no limit, of processes the host's own limit."""

    memory_mb: int = 0
    cpu_millicores: int = 0
    pids: int = 0


class Isolation(Body, frozen=True, kw_only=True):
    """How far the game is kept from its host; see `manman.domain.capabilities`.

    With `read_only_root` it writes to its volumes and to /tmp only; `init` puts a small init before it.
    """

    read_only_root: bool = False
    no_capabilities: bool = False
    extra_capabilities: list[str] = msgspec.field(default_factory=list)
    init: bool = False


class Readiness(Body, frozen=True, kw_only=True):
    """How to tell that players can come: a line matches `pattern` (RE2), or the game answers a query at `port`.

    `query` is tcp, a2s, minecraft or empty, `port` the container's. A game that answered once and then not for
    `liveness_limit_seconds` hangs; 0 means that it never does.
    """

    pattern: str = ""
    query: str = ""
    port: int = 0
    liveness_limit_seconds: int = 0


class GameConfig(Body, frozen=True, kw_only=True):
    """How to run the game. `command` wins over `args_template`, which runs as `/bin/sh -c <text>`."""

    config_id: int
    image: str
    args_template: str = ""
    env_template: dict[str, str] = msgspec.field(default_factory=dict)
    entrypoint: list[str] = msgspec.field(default_factory=list)
    command: list[str] = msgspec.field(default_factory=list)
    volumes: list[Volume] = msgspec.field(default_factory=list)
    files: list[File] = msgspec.field(default_factory=list)
    parameters: list[Parameter] = msgspec.field(default_factory=list)


class ServerGameConfig(Body, frozen=True, kw_only=True):
    """The deployment's part of a start: its ports and its own parameter values."""

    sgc_id: int
    port_bindings: list[PortBinding] = msgspec.field(default_factory=list)
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class StartSession(Body, frozen=True, kw_only=True):
    """Run this session. `force`: first stop whatever runs for the deployment. After `deadline_at` drop and report it.

    `stop_command` (a line for the game's stdin), `stop_timeout_seconds` (0: the host's default) and `stop_signal`
    (empty: the image's) say how the game is stopped later.
    """

    session_id: Id
    sgc_id: int
    game_config: GameConfig
    server_game_config: ServerGameConfig
    force: bool = False
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    stop_command: str = ""
    stop_timeout_seconds: int = 0
    stop_signal: str = ""
    resources: Resources = msgspec.field(default_factory=Resources)
    isolation: Isolation = msgspec.field(default_factory=Isolation)
    readiness: Readiness = msgspec.field(default_factory=Readiness)
    issued_at: Moment | None = None
    deadline_at: Moment | None = None


class StopSession(Body, frozen=True, kw_only=True):
    """End this session: stop command, grace, signal, kill. `force` skips to the kill.

    `stop_command` and `grace_seconds` override what the start command said; empty and 0 leave it.
    """

    session_id: Id
    force: bool = False
    stop_command: str = ""
    grace_seconds: int = 0
    issued_at: Moment | None = None


class KillSession(Body, frozen=True, kw_only=True):
    """End this session at once, as `StopSession` with force does."""

    session_id: Id


class SendInput(Body, frozen=True, kw_only=True):
    """Write these bytes, unchanged, to the game's stdin."""

    session_id: Id
    input: bytes


class Reply(Body, frozen=True, kw_only=True):
    """A host's answer to a command that asked for one; `error` is for people and empty on success."""

    correlation_id: str
    success: bool
    error: str = ""


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
