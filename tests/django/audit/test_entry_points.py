from __future__ import annotations

import pytest
from tests.support.site import GOOD, NO_FILE, Site, settings

SET = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
CHANNELS = SET + (
    "from channels.routing import ProtocolTypeRouter, URLRouter\n"
    "from django.core.asgi import get_asgi_application\n"
)
MODELS = {
    "mysite/settings.py": GOOD["mysite/settings.py"].replace("[]", "['shop']", 1),
    "shop/__init__.py": "",
    "shop/models.py": "from django.db import models\nclass Shop(models.Model): pass\n",
    "shop/consumers.py": "from .tools import helper\n",
    "shop/tools.py": "from shop.models import Shop\ndef helper(): pass\n",
    "shop/plain.py": "import json\n",
}


def asgi(text: str) -> dict[str, str]:
    return {"mysite/asgi.py": text}


def wsgi(text: str) -> dict[str, str]:
    return {"mysite/wsgi.py": text}


def without(setting: str) -> dict[str, str]:
    lines = GOOD["mysite/settings.py"].splitlines(keepends=True)
    return {"mysite/settings.py": "".join(line for line in lines if not line.startswith(setting))}


def test_a_good_project_has_no_finding(site: Site) -> None:
    report = site({})
    assert report["findings"] == []
    assert report["summary"] == {"error": 0, "warning": 0, "info": 0, "ignored": 0}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(
            asgi(
                SET + "from django.core.asgi import get_asgi_application\n"
                "application = get_wsgi_application()  # !E003\n"
            ),
            "imports get_asgi_application but calls get_wsgi_application()",
            id="calls what it does not import",
        ),
        pytest.param(
            wsgi(SET + "application = get_wsgi_application()  # !E003\n"),
            "which is not defined",
            id="imports nothing",
        ),
        pytest.param(
            asgi(
                SET + "from django.core.wsgi import get_wsgi_application\n"
                "application = get_wsgi_application()  # !E004\n"
            ),
            "makes its application with get_wsgi_application()",
            id="the wrong getter",
        ),
        pytest.param(
            wsgi(
                SET + "import django.core.asgi\nsite = django.core.asgi.get_asgi_application()"
                "  # !E004\napplication = site\n"
            ),
            "makes its application with get_asgi_application()",
            id="the wrong getter by its full name",
        ),
        pytest.param(
            asgi(
                CHANNELS + "from django.core.wsgi import get_wsgi_application\n"
                "application = ProtocolTypeRouter({'http': get_wsgi_application()})  # !E004\n"
            ),
            "get_wsgi_application()",
            id="the wrong getter within a router",
        ),
        pytest.param(
            asgi(
                SET + "from django.core.asgi import get_asgi_application\n"
                "app = get_asgi_application()  # !E005\n"
            ),
            "has no variable 'application'",
            id="the wrong variable",
        ),
        pytest.param(
            asgi(CHANNELS + "application = ProtocolTypeRouter({'websocket': URLRouter([])})"
                 "  # !W008\n"),
            "no 'http'",
            id="a router without http",
        ),
        pytest.param(
            asgi(
                "import os\nfrom django.core.asgi import get_asgi_application\n"
                "application = get_asgi_application()  # !W006\n"
                "os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'\n"
            ),
            "only in line 4",
            id="settings named after the call",
        ),
        pytest.param(
            wsgi(
                "from django.core.wsgi import get_wsgi_application\n"
                "application = get_wsgi_application()  # !W006\n"
            ),
            "nowhere before",
            id="settings named nowhere",
        ),
        pytest.param(
            MODELS
            | asgi(
                SET + "from django.core.asgi import get_asgi_application\n"
                "import shop.plain\nfrom shop import consumers  # !W007\n"
                "application = get_asgi_application()\n"
            ),
            "shop.consumers, which imports shop.tools, which imports shop.models",
            id="models before Django is set up",
        ),
        pytest.param(
            asgi(
                SET + "from django.core.asgi import get_asgi_application\n"
                "from django.contrib.auth.models import User  # !W007\n"
                "application = get_asgi_application()\n"
            )
            | settings("INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes']"),
            "django.contrib.auth.models",
            id="Django's own models",
        ),
        pytest.param(
            settings("ASGI_APPLICATION = 'mysite.async.application'  # !E005"),
            "there is no module 'mysite.async'",
            id="a setting that names no module",
        ),
        pytest.param(
            settings("ASGI_APPLICATION = 'mysite.asgi.app'")
            | asgi(GOOD["mysite/asgi.py"].replace("application()\n", "application()  # !E005\n")),
            "ASGI_APPLICATION asks for app",
            id="a setting that names no variable",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_found_where_it_is(site: Site, files: dict[str, str], words: str) -> None:
    (finding,) = site.finds(files)
    assert words in finding["message"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_missing_setting_is_told(site: Site, kind: str) -> None:
    (finding,) = site(without(f"{kind.upper()}_APPLICATION"))["findings"]
    assert (finding["id"], finding["file"]) == ("twogate.I009", "mysite/settings.py")
    assert f'{kind.upper()}_APPLICATION = "mysite.{kind}.application"' in finding["mend"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_missing_file_is_told(site: Site, kind: str) -> None:
    files = without(f"{kind.upper()}_APPLICATION") | {f"mysite/{kind}.py": NO_FILE}
    (finding,) = site(files)["findings"]
    assert (finding["id"], finding["file"]) == ("twogate.I010", "mysite/settings.py")
    assert f"There is no {kind}.py" in finding["message"]


@pytest.mark.parametrize(
    "text",
    [
        # Something that may name the settings runs before.
        "import mysite.environment\nfrom django.core.asgi import get_asgi_application\n"
        "application = get_asgi_application()\n",
        # What is imported afterwards may have models.
        SET + "from django.core.asgi import get_asgi_application\n"
        "django_application = get_asgi_application()\nfrom shop import consumers\n"
        "application = django_application\n",
        # For the type checker only.
        SET + "from typing import TYPE_CHECKING\n"
        "from django.core.asgi import get_asgi_application\n"
        "if TYPE_CHECKING:\n    from shop.models import Shop\n"
        "application = get_asgi_application()\n",
        # A mapping that is put together elsewhere.
        CHANNELS + "more = {'http': get_asgi_application()}\n"
        "application = ProtocolTypeRouter({**more, 'websocket': URLRouter([])})\n",
        # A function that makes the application.
        SET + "from django.core.asgi import get_asgi_application\n"
        "async def application(scope, receive, send):\n"
        "    await django(scope, receive, send)\ndjango = get_asgi_application()\n",
        # Twogate's own.
        SET + "from twogate.django import get_asgi_application\n"
        "application = get_asgi_application()\n",
    ],
)
def test_what_is_right_is_left_alone(site: Site, text: str) -> None:
    site.finds(MODELS | {"mysite/environment.py": "", "mysite/asgi.py": text})
