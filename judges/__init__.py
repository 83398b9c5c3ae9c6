"""Samples in, grades out. Pure: a model is asked, and a sandbox is run, by whoever calls (`Ask`, `Sandbox`)."""
