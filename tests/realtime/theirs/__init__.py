"""channels_redis' own public tests, run against the local layer.

They come from its source package, which is fetched once into the user's cache folder and never into
the checkout; neither channels_redis nor Redis is needed. ``python -m tests.realtime.theirs`` is the
command; ``exceptions.toml`` has the tests that are about Redis itself, each with its reason.
"""
