"""How far a pull is, in percent, from what the engine says of each layer. Pure.

Every layer counts the same until its size is known, then by its size. Of a layer's part four fifths are the download
and one fifth is the unpacking.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DOWNLOADED, DONE = 0.8, 1.0
_FINISHED = frozenset({"Pull complete", "Already exists"})
_WAITING = frozenset({"Pulling fs layer", "Waiting"})


@dataclasses.dataclass
class _Layer:
    size_bytes: int = 0
    done: float = 0.0


class PullProgress:
    """One pull. `percent` never falls, whatever becomes known of sizes on the way."""

    def __init__(self) -> None:
        """Begin with no layer known."""
        self.percent = 0
        self._layers: dict[str, _Layer] = {}

    def see(self, event: Mapping[str, Any]) -> int:
        """Take one event of the engine and return the percent."""
        status, layer_id = str(event.get("status", "")), str(event.get("id", ""))
        detail = event.get("progressDetail") or {}
        share = _share(detail)
        if status in _WAITING:
            self._layers.setdefault(layer_id, _Layer())
        elif status == "Downloading":
            self._advance(layer_id, DOWNLOADED * share, int(detail.get("total") or 0))
        elif status == "Extracting":
            self._advance(layer_id, DOWNLOADED + (DONE - DOWNLOADED) * share, int(detail.get("total") or 0))
        elif status in {"Download complete", "Verifying Checksum"}:
            self._advance(layer_id, DOWNLOADED)
        elif status in _FINISHED:
            self._advance(layer_id, DONE)
        self.percent = max(self.percent, self._overall())
        return self.percent

    def _advance(self, layer_id: str, done: float, size_bytes: int = 0) -> None:
        layer = self._layers.setdefault(layer_id, _Layer())
        layer.done = max(layer.done, done)
        layer.size_bytes = max(layer.size_bytes, size_bytes)

    def _overall(self) -> int:
        known = [layer.size_bytes for layer in self._layers.values() if layer.size_bytes]
        typical = sum(known) / len(known) if known else 1.0
        weights = [(layer.size_bytes or typical, layer.done) for layer in self._layers.values()]
        whole = sum(weight for weight, _ in weights)
        return int(100 * sum(weight * done for weight, done in weights) / whole) if whole else 0


def _share(detail: Mapping[str, Any]) -> float:
    """Return which part of a step is done; 0 when the engine does not know how much there is to do."""
    current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
    return min(1.0, current / total) if total > 0 else 0.0
