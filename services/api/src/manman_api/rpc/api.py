"""The control API in one class. RPCs that no mixin has come from the generated base and answer UNIMPLEMENTED."""

from __future__ import annotations

from manman.v1.api_pb2_grpc import ManManAPIServicer
from manman_api.rpc.actions import ActionsRpc
from manman_api.rpc.configs import ConfigsRpc
from manman_api.rpc.configuration import ConfigurationRpc
from manman_api.rpc.deployments import DeploymentsRpc
from manman_api.rpc.games import GamesRpc
from manman_api.rpc.servers import ServersRpc
from manman_api.rpc.sessions import SessionsRpc
from manman_api.rpc.volumes import VolumesRpc


class ManManAPI(
    ServersRpc,
    GamesRpc,
    ConfigsRpc,
    VolumesRpc,
    ConfigurationRpc,
    DeploymentsRpc,
    SessionsRpc,
    ActionsRpc,
    ManManAPIServicer,
):
    """Every RPC of `manman.v1.ManManAPI`, one mixin per noun."""
