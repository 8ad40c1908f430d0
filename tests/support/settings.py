"""Django in the test process, configured once whichever test needs it first."""

from __future__ import annotations

__all__ = ["configure"]


def configure() -> None:
    """Configure Django and set it up; does nothing the second time."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY="x",
            USE_I18N=True,
            LANGUAGE_CODE="en",
            INSTALLED_APPS=[
                f"django.contrib.{app}" for app in ("auth", "contenttypes", "messages", "sessions")
            ],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        )
    django.setup()
