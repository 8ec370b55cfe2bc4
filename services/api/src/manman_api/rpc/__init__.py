"""The edge: messages of the contract to plain values and rows back to messages. One mixin per noun, no rules."""
