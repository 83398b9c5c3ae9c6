"""The console: pages for people, each a client of the public API (design, decision 8)."""
