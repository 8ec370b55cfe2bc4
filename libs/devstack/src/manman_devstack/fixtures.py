"""Pytest fixtures that give each test the real parts it needs."""
