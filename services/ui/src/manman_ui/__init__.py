"""See the package's pyproject for what it is."""
