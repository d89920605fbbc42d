"""Runs the migrations on the connection, and in the transaction, that `schema.upgrade` holds."""

from alembic import context

from authsome.vault.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
