"""Rows and results of configuration to messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.v1 import configuration_pb2 as pb

if TYPE_CHECKING:
    from manman.db.models import ConfigurationPatch, ConfigurationStrategy
    from manman.domain.configuration.layering import Configuration


def strategy(row: ConfigurationStrategy) -> pb.ConfigurationStrategy:
    """Present a strategy."""
    return pb.ConfigurationStrategy(
        strategy_id=row.strategy_id,
        game_id=row.game_id,
        name=row.name,
        description=row.description or "",
        strategy_type=row.strategy_type,
        target_path=row.target_path or "",
        base_template=row.base_template or "",
        render_options=row.render_options,
        apply_order=row.apply_order,
    )


def patch(row: ConfigurationPatch) -> pb.ConfigurationPatch:
    """Present a patch."""
    return pb.ConfigurationPatch(
        patch_id=row.patch_id,
        strategy_id=row.strategy_id,
        patch_level=row.patch_level,
        entity_id=row.entity_id,
        patch_content=row.patch_content or "",
        patch_format=row.patch_format,
        volume_id=row.volume_id or 0,
        path_override=row.path_override or "",
        patch_order=row.patch_order,
    )


def configuration(found: Configuration) -> pb.RenderedConfiguration:
    """Present what a strategy gives, with what each layer contributed."""
    return pb.RenderedConfiguration(
        strategy_name=found.strategy.name,
        strategy_type=found.strategy.type,
        target_path=found.target_path,
        rendered_content=found.content,
        base_content=found.base,
        patches=[
            pb.PatchLayer(
                level=layer.level,
                patch_content=layer.text,
                origin=layer.origin,
                patch_id=layer.patch_id,
                patch_format=layer.format,
            )
            for layer in found.layers
        ],
    )
