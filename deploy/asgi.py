"""The ASGI application that granian loads: settings are read here, once a process."""

from admin.console.urls import CONSOLE
from gateway.app import build_app
from gateway.settings import load

app = build_app(load(), CONSOLE)
