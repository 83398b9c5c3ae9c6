"""What goes wrong, where, since when, and what to do about it: clusters of failures, and suggestions by rules."""
