"""An HTTP/1.1 client for few servers and many calls: what `gateway/upstreams/client.py` sends through (ADR 0013)."""
