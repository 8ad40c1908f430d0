"""The one asyncio protocol, and what a connection becomes after an upgrade."""
