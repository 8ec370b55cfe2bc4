"""The revisions, read by Alembic."""
