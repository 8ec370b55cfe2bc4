"""The wrapper: beside each game, holding its console and telling how it ended."""
