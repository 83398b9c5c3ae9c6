"""The ASGI application that granian loads: settings are read here, once a process."""

from gateway.app import build_app
from gateway.settings import load

app = build_app(load())
