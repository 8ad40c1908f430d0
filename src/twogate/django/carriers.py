"""What carries a project's broadcasts to its other processes, by its settings.

Named by an import string in :mod:`twogate.realtime.topics`, which asks once somebody joins a topic
or says something to one: in a worker, a management command, a task of a queue or a shell alike.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from twogate.django.topics import _options
from twogate.realtime.carrier import LocalCarrier
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.topics import Carrier, deliver_here
from twogate.realtime.where import SETTING, redis_prefix, redis_url

__all__ = ["find"]


def find() -> Carrier | None:
    """The carrier of this process; ``None`` as long as it has no settings.

    :raises ImproperlyConfigured: a setting has a value that cannot be used.
    """
    if not settings.configured:
        return None
    url = redis_url(getattr(settings, SETTING, None))
    if url is not None:
        from twogate.realtime.redis_carrier import RedisCarrier
        from twogate.realtime.redis_link import link_to

        return RedisCarrier(link_to(url), redis_prefix(settings.SECRET_KEY), deliver_here)
    parent = _options().get("folder")
    folder = RuntimeFolder(
        f"broadcast {settings.SECRET_KEY}", parent and Path(parent), "TWOGATE_TOPICS"
    )
    return LocalCarrier(folder, deliver_here)
