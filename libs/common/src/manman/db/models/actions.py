"""Actions: console commands with input fields, offered at three levels, and the record of each execution.

An action belongs to an entity by (level, id) without a foreign key; triggers of the schema remove it with its entity.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from decimal import Decimal  # noqa: TC003 - the same

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from manman.db.models.declarative import Base, Identifier, Timestamps, one_of
from manman.domain.actions import BUTTON_STYLES, FIELD_TYPES, LEVELS, Definition, ExecutionStatus, Field, Option

NAME = "name ~ '^[a-z0-9_]+$'"


class ActionDefinition(Timestamps, Base):
    """A command template with a label and a button; `group_name` gathers buttons.

    `fields` are there when the query asked for them.
    """

    __tablename__ = "action_definitions"
    __table_args__ = (
        UniqueConstraint("definition_level", "entity_id", "name"),
        CheckConstraint(NAME, name="name"),
        CheckConstraint(one_of("definition_level", LEVELS), name="definition_level"),
        CheckConstraint(one_of("button_style", BUTTON_STYLES), name="button_style"),
    )

    action_id: Mapped[Identifier]
    definition_level: Mapped[str] = mapped_column(String(50), server_default="game")
    entity_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(100))
    label: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None]
    command_template: Mapped[str]
    display_order: Mapped[int] = mapped_column(server_default=text("0"))
    group_name: Mapped[str | None] = mapped_column(String(100))
    button_style: Mapped[str] = mapped_column(String(50), server_default="primary")
    icon: Mapped[str | None] = mapped_column(String(100))
    requires_confirmation: Mapped[bool] = mapped_column(server_default=text("false"))
    confirmation_message: Mapped[str | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))

    fields: Mapped[list[ActionInputField]] = relationship(
        lazy="raise",
        order_by="(ActionInputField.display_order, ActionInputField.field_id)",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    @property
    def definition(self) -> Definition:
        """The action as the domain reads it, with its fields."""
        return Definition(
            level=self.definition_level,
            entity_id=self.entity_id,
            name=self.name,
            label=self.label,
            description=self.description or "",
            command_template=self.command_template,
            display_order=self.display_order,
            group_name=self.group_name or "",
            button_style=self.button_style,
            icon=self.icon or "",
            requires_confirmation=self.requires_confirmation,
            confirmation_message=self.confirmation_message or "",
            enabled=self.enabled,
            fields=tuple(row.field for row in self.fields),
        )


class ActionInputField(Timestamps, Base):
    """One thing the person who runs the action fills in; limits that are NULL are not checked."""

    __tablename__ = "action_input_fields"
    __table_args__ = (
        UniqueConstraint("action_id", "name"),
        CheckConstraint(NAME, name="name"),
        CheckConstraint(one_of("field_type", FIELD_TYPES), name="field_type"),
    )

    field_id: Mapped[Identifier]
    action_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("action_definitions.action_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    label: Mapped[str] = mapped_column(String(200))
    field_type: Mapped[str] = mapped_column(String(50))
    required: Mapped[bool] = mapped_column(server_default=text("false"))
    placeholder: Mapped[str | None]
    help_text: Mapped[str | None]
    default_value: Mapped[str | None]
    display_order: Mapped[int] = mapped_column(server_default=text("0"))
    pattern: Mapped[str | None] = mapped_column(String(500))
    min_value: Mapped[Decimal | None] = mapped_column(Numeric())
    max_value: Mapped[Decimal | None] = mapped_column(Numeric())
    min_length: Mapped[int | None]
    max_length: Mapped[int | None]

    options: Mapped[list[ActionInputOption]] = relationship(
        lazy="raise",
        order_by="(ActionInputOption.display_order, ActionInputOption.option_id)",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    @property
    def field(self) -> Field:
        """The field as the domain reads it, with its options."""
        return Field(
            name=self.name,
            label=self.label,
            type=self.field_type,
            required=self.required,
            placeholder=self.placeholder or "",
            help_text=self.help_text or "",
            default_value=self.default_value or "",
            display_order=self.display_order,
            pattern=self.pattern or "",
            min_value=None if self.min_value is None else float(self.min_value),
            max_value=None if self.max_value is None else float(self.max_value),
            min_length=self.min_length,
            max_length=self.max_length,
            options=tuple(
                Option(value=row.value, label=row.label, display_order=row.display_order, is_default=row.is_default)
                for row in self.options
            ),
        )


class ActionInputOption(Timestamps, Base):
    """A choice of a select or radio field."""

    __tablename__ = "action_input_options"
    __table_args__ = (UniqueConstraint("field_id", "value"),)

    option_id: Mapped[Identifier]
    field_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("action_input_fields.field_id", ondelete="CASCADE"))
    value: Mapped[str]
    label: Mapped[str] = mapped_column(String(200))
    display_order: Mapped[int] = mapped_column(server_default=text("0"))
    is_default: Mapped[bool] = mapped_column(server_default=text("false"))


class ActionExecution(Base):
    """One attempt to run an action; history stays, under the action's name of that time, when the action goes."""

    __tablename__ = "action_executions"
    __table_args__ = (
        CheckConstraint(one_of("status", ExecutionStatus), name="status"),
        Index("ix_action_executions_session", "session_id", text("executed_at DESC")),
        Index("ix_action_executions_action", "action_id", text("executed_at DESC")),
        Index(None, "executed_at"),
    )

    execution_id: Mapped[Identifier]
    action_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("action_definitions.action_id", ondelete="SET NULL")
    )
    action_name: Mapped[str] = mapped_column(String(100))
    session_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"))
    triggered_by: Mapped[str | None] = mapped_column(String(200))
    input_values: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    rendered_command: Mapped[str]
    status: Mapped[str] = mapped_column(String(50), server_default="success")
    error_message: Mapped[str | None]
    executed_at: Mapped[datetime] = mapped_column(server_default=func.now())
