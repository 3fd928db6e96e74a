"""Commands for a run's model after the report: chat, merge, export, serve, publish."""
