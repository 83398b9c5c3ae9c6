"""The official `openai` client against one real stack: what a user sees, over a socket."""
