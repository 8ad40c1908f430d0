"""channels_redis' own public tests, run against the local layer and against the one over Redis.

They come from its source package, which is fetched once into the user's cache folder and never into
the checkout. ``python -m tests.realtime.theirs`` is the command for the local layer, which needs
neither channels_redis nor Redis, and with ``redis`` after it for the other one. ``exceptions.toml``
and ``exceptions-redis.toml`` have the tests that need not pass, each with its reason.
"""
