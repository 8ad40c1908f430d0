"""Twogate: the server for Django that opens both of its doors, WSGI and ASGI, on one port."""

__version__ = "0.1.0"

__all__ = ["__version__"]
