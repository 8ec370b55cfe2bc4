"""A plan of the host becomes the engine's request for a container. Pure: everything about engine arguments is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manman.v1 import wrapper_control_pb2 as pb

LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "32m", "max-file": "3"}}
"""The engine's log is our buffer: big enough that a reader of a flood is not overtaken, small enough for any disk."""


def build_request(plan: pb.GamePlan) -> dict[str, Any]:
    """Return the body of the engine's create call for `plan`.

    stdin stays open when a client leaves (StdinOnce false), the engine never restarts the game, nothing is published
    but what the plan names, no capability is there but those it names, and none can be gained.
    """
    request: dict[str, Any] = {
        "Image": plan.image,
        "Env": [f"{key}={value}" for key, value in sorted(plan.env.items())],
        "Labels": dict(plan.labels),
        "Tty": plan.tty,
        "OpenStdin": True,
        "StdinOnce": False,
        "AttachStdin": False,
        "ExposedPorts": {_port(binding): {} for binding in plan.ports},
        "HostConfig": _host_config(plan),
    }
    if plan.entrypoint:
        request["Entrypoint"] = list(plan.entrypoint)
    if plan.command:
        request["Cmd"] = list(plan.command)
    if plan.user:
        request["User"] = plan.user
    if plan.stop_signal:
        request["StopSignal"] = plan.stop_signal
    if plan.network:
        request["NetworkingConfig"] = {"EndpointsConfig": {plan.network: {"Aliases": list(plan.aliases)}}}
    return request


def _host_config(plan: pb.GamePlan) -> dict[str, Any]:
    published: dict[str, list[dict[str, str]]] = {}
    for binding in plan.ports:
        published.setdefault(_port(binding), []).append({"HostPort": str(binding.host_port)})
    config: dict[str, Any] = {
        "PortBindings": published,
        "Mounts": [
            {
                "Type": mount.type or "bind",
                "Source": mount.source,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
            }
            for mount in plan.mounts
        ],
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": LOG_CONFIG,
        "Memory": plan.memory_bytes,
        "MemorySwap": plan.memory_bytes,
        "NanoCpus": plan.nano_cpus,
        "PidsLimit": plan.pids_limit,
        "CapDrop": ["ALL"],
        "CapAdd": list(plan.capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": plan.read_only_root,
        "Tmpfs": dict(plan.tmpfs),
        "Init": plan.init,
    }
    if plan.network:
        config["NetworkMode"] = plan.network
    return config


def _port(binding: Any) -> str:  # noqa: ANN401 - a PortBinding of the contract
    return f"{binding.container_port}/{(binding.protocol or 'TCP').lower()}"
