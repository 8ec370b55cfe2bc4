"""The environment of a deployment's sessions as it may be shown: where each variable comes from, and no secret.

How it is made is in `manman.domain.rendering` and `manman.domain.configuration`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from manman.domain.parameters import MASK

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN")


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A variable to show; `source` is the level that said the last word, `value` is `MASK` when it is `masked`."""

    name: str
    value: str
    masked: bool
    source: str


def names_a_secret(name: str) -> bool:
    """Tell whether a variable's name says that its value is a secret."""
    return any(word in name.upper() for word in _SECRET_WORDS)


def show(
    final: Mapping[str, str],
    *,
    before_strategies: Mapping[str, str],
    overrides: Collection[str],
    secrets: Collection[str],
) -> list[Variable]:
    """Return the variables of a final environment, by name.

    `before_strategies` is the environment that strategies began with, `overrides` names what the deployment laid over
    the config's, and `secrets` are the values of secret parameters: what holds one of them is masked as a whole.
    """
    found = []
    for name, value in sorted(final.items()):
        source = "server_game_config" if name in overrides else "game_config"
        if before_strategies.get(name) != value:
            source = "configuration_strategy"
        masked = names_a_secret(name) or any(secret in value for secret in secrets if secret)
        found.append(Variable(name, MASK if masked else value, masked, source))
    return found
