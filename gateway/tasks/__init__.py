"""Background work: one file a task."""
