"""The control API: intent in, intent recorded. It owns no containers and publishes nothing but through the outbox."""
