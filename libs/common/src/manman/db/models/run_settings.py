"""What a config says about running its game and a deployment may say differently: limits, stop, restart.

0 and "" say nothing: of a deployment that the config decides, of a config that there is no limit, or the default.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, String, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import one_of
from manman.domain.configs import RESTART_POLICIES


class RunSettings:
    """Mixin: the columns."""

    stop_command: Mapped[str] = mapped_column(server_default="")
    stop_timeout_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    stop_signal: Mapped[str] = mapped_column(server_default="")
    memory_mb: Mapped[int] = mapped_column(server_default=text("0"))
    cpu_millicores: Mapped[int] = mapped_column(server_default=text("0"))
    pids_limit: Mapped[int] = mapped_column(server_default=text("0"))
    restart_policy: Mapped[str] = mapped_column(String(20), server_default="")
    restart_max_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    restart_window_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    restart_backoff_seconds: Mapped[int] = mapped_column(server_default=text("0"))


def run_settings_checks() -> tuple[CheckConstraint, ...]:
    """Return the constraints of a table with these columns."""
    return (
        CheckConstraint("memory_mb >= 0 AND cpu_millicores >= 0 AND pids_limit >= 0", name="limits"),
        CheckConstraint("stop_timeout_seconds >= 0", name="stop_timeout"),
        CheckConstraint(one_of("restart_policy", ("", *RESTART_POLICIES)), name="restart_policy"),
        CheckConstraint(
            "restart_max_attempts >= 0 AND restart_window_seconds >= 0 AND restart_backoff_seconds >= 0",
            name="restart_limits",
        ),
    )
