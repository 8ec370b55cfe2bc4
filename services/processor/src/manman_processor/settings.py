"""The settings of the processor, and the only reader of its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from manman.messages.routing import MAX_PARTITIONS, PROCESSOR_EVENTS
from manman.settings import BusSettings, DatabaseSettings, RuntimeSettings, TracingSettings

COMPONENTS = ("events", "relay", "sweeps", "dead_letters")


class Settings(DatabaseSettings, BusSettings, RuntimeSettings, TracingSettings):
    """Where the processor works, what it does there, and how patient it is. All times are in seconds."""

    components: Annotated[tuple[str, ...], NoDecode] = Field(
        default=COMPONENTS,
        description=(
            "what this process does, with commas: events (reports of hosts), relay (the outbox), sweeps, dead_letters"
        ),
    )
    queue_name: str = Field(default=PROCESSOR_EVENTS, min_length=1, max_length=200, description="queue of the reports")
    event_partitions: int = Field(
        default=1,
        ge=1,
        le=MAX_PARTITIONS,
        description="into how many queues reports are divided, by host; the same number for all processors",
    )
    event_batch_max: int = Field(default=1000, ge=1, le=2000, description="most reports in one transaction")
    event_prefetch: int = Field(
        default=3000,
        ge=1,
        le=10000,
        description="most reports taken but not yet settled; at least three times the former",
    )
    stale_host_threshold_seconds: float = Field(
        default=10.0, gt=0, description="a host that was silent for longer is offline"
    )
    stale_host_check_interval_seconds: float = Field(
        default=60.0, gt=0, description="how often silent hosts are sought"
    )
    lost_after_host_offline_seconds: float = Field(
        default=300.0, gt=0, description="live sessions of a host that is offline for longer are lost"
    )
    stale_session_threshold_seconds: float | None = Field(
        default=None,
        gt=0,
        description="how long a session may be pending, starting or stopping without news; unset: 120, 60 and 180",
    )
    session_check_interval_seconds: float = Field(default=10.0, gt=0, description="how often such sessions are sought")
    restart_check_interval_seconds: float = Field(
        default=1.0, gt=0, description="how often it is decided whether games that ended by themselves start again"
    )
    restart_max_attempts: int = Field(
        default=5, ge=1, le=100, description="restarts within the window, where the policy does not say how many"
    )
    restart_window_seconds: float = Field(
        default=600.0, gt=0, description="the window in which restarts count, where the policy does not say"
    )
    restart_backoff_seconds: float = Field(
        default=10.0, ge=0, description="how long the first restart waits, where the policy does not say"
    )
    restart_backoff_longest_seconds: float = Field(
        default=300.0, gt=0, description="how long a restart waits at most; each one waits twice as long as the last"
    )
    inventory_grace_seconds: float = Field(
        default=60.0, ge=0, description="a session with news younger than this is never called missing from its host"
    )
    outbox_poll_seconds: float = Field(
        default=1.0, gt=0, description="how often the outbox is read without being woken"
    )
    outbox_keep_seconds: float = Field(
        default=86400.0, gt=0, description="how long published messages are kept: the age of the event log"
    )
    event_log_max: int = Field(
        default=1_000_000, ge=1, description="so many of the newest events are kept in their log"
    )
    log_stream_keep_seconds: float = Field(
        default=86400.0, gt=0, description="how long the log lines of an ended session can be read from its stream"
    )
    audit_keep_days: float = Field(default=365.0, gt=0, le=36500, description="how long the audit log is kept")
    samples_keep_raw_hours: float = Field(
        default=6.0, ge=1, le=168, description="how long numbers of hosts and sessions are kept as they came"
    )
    samples_keep_days: float = Field(
        default=14.0,
        ge=1,
        le=3650,
        description="how long they are kept at all, by then as means of five minutes",
    )
    idempotency_keep_seconds: float = Field(
        default=86400.0, gt=0, description="how long a call can be repeated under its idempotency key"
    )
    dead_letter_interval_seconds: float = Field(
        default=30.0, gt=0, description="how often hosts are sought whose dead letters are not read yet"
    )
    dead_letters_keep: int = Field(
        default=10_000, ge=1, le=1_000_000, description="so many dead letters are kept, the newest ones"
    )
    census_interval_seconds: float = Field(
        default=15.0, gt=0, description="how often hosts and sessions are counted for the metrics"
    )
    housekeeping_interval_seconds: float = Field(
        default=60.0,
        gt=0,
        description="how often old messages, log streams, audit entries, keys, numbers and dead letters are removed",
    )

    @field_validator("components", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("components")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - set(COMPONENTS))
        if unknown or not value:
            raise ValueError(f"use some of {', '.join(COMPONENTS)}, not {', '.join(unknown) or 'none'}")
        return value

    @model_validator(mode="after")
    def _kept_for_longer_than_raw(self) -> Settings:
        if self.samples_keep_days * 24 <= self.samples_keep_raw_hours:
            raise ValueError("SAMPLES_KEEP_DAYS must be longer than SAMPLES_KEEP_RAW_HOURS")
        return self

    @model_validator(mode="after")
    def _sweeps_listen(self) -> Settings:
        if "sweeps" in self.components and "events" not in self.components:
            raise ValueError("sweeps need events in the same process: who does not listen cannot say who is silent")
        return self
