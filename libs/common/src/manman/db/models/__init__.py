"""The schema: one mapped class per table, one module per noun, one metadata (`Base.metadata`)."""

from manman.db.models.access import ApiToken, AuditEntry, IdempotencyKey
from manman.db.models.actions import ActionDefinition, ActionExecution, ActionInputField, ActionInputOption
from manman.db.models.backups import Backup, BackupConfig, BackupConfigAction, BackupRun
from manman.db.models.configuration import ConfigurationPatch, ConfigurationStrategy, StrategyParameterBinding
from manman.db.models.dead_letters import DeadLetter
from manman.db.models.declarative import Base, updated_tables
from manman.db.models.deployments import ServerGameConfig, ServerGameConfigParameterValue, ServerPort
from manman.db.models.games import (
    Game,
    GameConfig,
    GameConfigFile,
    GameConfigParameterValue,
    GameConfigVolume,
    ParameterDefinition,
)
from manman.db.models.logs import LogCursor, LogReference
from manman.db.models.pending import EventSequence, LogStreamDeletion, Outbox, S3Deletion
from manman.db.models.samples import ServerSample, SessionSample
from manman.db.models.servers import Server, ServerCapability
from manman.db.models.sessions import DeploymentRestart, Session, SessionCrashRecord
from manman.db.models.ui_sessions import UiSession
from manman.db.models.workshop import (
    GameAddonPathPreset,
    SgcWorkshopLibrary,
    WorkshopAddon,
    WorkshopInstallation,
    WorkshopLibrary,
    WorkshopLibraryAddon,
    WorkshopLibraryReference,
)

__all__ = [
    "ActionDefinition",
    "ActionExecution",
    "ActionInputField",
    "ActionInputOption",
    "ApiToken",
    "AuditEntry",
    "Backup",
    "BackupConfig",
    "BackupConfigAction",
    "BackupRun",
    "Base",
    "ConfigurationPatch",
    "ConfigurationStrategy",
    "DeadLetter",
    "DeploymentRestart",
    "EventSequence",
    "Game",
    "GameAddonPathPreset",
    "GameConfig",
    "GameConfigFile",
    "GameConfigParameterValue",
    "GameConfigVolume",
    "IdempotencyKey",
    "LogCursor",
    "LogReference",
    "LogStreamDeletion",
    "Outbox",
    "ParameterDefinition",
    "S3Deletion",
    "Server",
    "ServerCapability",
    "ServerGameConfig",
    "ServerGameConfigParameterValue",
    "ServerPort",
    "ServerSample",
    "Session",
    "SessionCrashRecord",
    "SessionSample",
    "SgcWorkshopLibrary",
    "StrategyParameterBinding",
    "UiSession",
    "WorkshopAddon",
    "WorkshopInstallation",
    "WorkshopLibrary",
    "WorkshopLibraryAddon",
    "WorkshopLibraryReference",
    "updated_tables",
]
