"""Models: what the pipeline asks of them, their backends, and where weights come from."""
