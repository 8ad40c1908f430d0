"""Which of Django's tests a handler can break: the quick ones, and all of them.

Every label must exist in every supported version of Django; one that does not is an error.
"""

from __future__ import annotations

__all__ = ["FULL", "QUICK"]

_QUICK_PACKAGES = (
    "asgi",
    "async",
    "builtin_server",
    "conditional_processing",
    "context_processors",
    "csrf_tests",
    "decorators",
    "file_uploads",
    "flatpages_tests",
    "generic_views",
    "handlers",
    "httpwrappers",
    "logging_tests",
    "messages_tests",
    "middleware",
    "middleware_exceptions",
    "redirects_tests",
    "requests_tests",
    "responses",
    "servers",
    "sessions_tests",
    "shortcuts",
    "signals",
    "signed_cookies_tests",
    "sitemaps_tests",
    "sites_framework",
    "sites_tests",
    "syndication_tests",
    "test_client",
    "test_client_regress",
    "timezones",
    "transaction_hooks",
    "transactions",
    "urlpatterns",
    "urlpatterns_reverse",
    "view_tests",
    "wsgi",
)

#: The parts that a request passes through, of packages that spend most of their time elsewhere:
#: waiting for cache entries to expire, hashing passwords, collecting files, building an admin.
_QUICK_PARTS = (
    "auth_tests.test_auth_backends",
    "auth_tests.test_context_processors",
    "auth_tests.test_decorators",
    "auth_tests.test_handlers",
    "auth_tests.test_login",
    "auth_tests.test_middleware",
    "auth_tests.test_mixins",
    "auth_tests.test_remote_user",
    "auth_tests.test_signals",
    "auth_tests.test_templates",
    "auth_tests.test_views",
    "cache.tests.CacheHEADTest",
    "cache.tests.CacheHandlerTest",
    "cache.tests.CacheI18nTest",
    "cache.tests.CacheMiddlewareTest",
    "cache.tests.CacheUtils",
    "cache.tests.PrefixedCacheI18nTest",
    "cache.tests.TestWithTemplateResponse",
    "i18n.patterns",
    "i18n.tests",
    "staticfiles_tests.test_handlers",
    "staticfiles_tests.test_liveserver",
    "staticfiles_tests.test_views",
    "template_tests.test_response",
)

_SLOW_PACKAGES = (
    "admin_views",
    "auth_tests",
    "cache",
    "contenttypes_tests",
    "i18n",
    "staticfiles_tests",
    "template_tests",
    "test_utils",
)

QUICK = _QUICK_PACKAGES + _QUICK_PARTS
FULL = _QUICK_PACKAGES + _SLOW_PACKAGES
