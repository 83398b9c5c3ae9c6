"""Datasets built from logged exchanges and what was said of them."""
