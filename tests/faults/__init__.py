"""Parts killed and stacks stopped in the middle of work: what a client saw end is never lost."""
