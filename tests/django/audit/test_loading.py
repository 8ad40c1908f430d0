from __future__ import annotations

import pytest
from tests.support.site import GOOD, Site, settings


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (settings("1 / 0  # !E001"), "ZeroDivisionError"),
        (settings("import sys", "sys.exit('no key')  # !E001"), "sys.exit('no key')"),
        (settings("raise RuntimeError('no key')  # !E001"), "no key"),
        (settings("import mysite.one"), "partially initialized module"),
        ({"mysite/urls.py": "from mysite import nothing  # !E001\n"}, "ImportError"),
        ({"mysite/urls.py": "urlpatterns = [\n  path(  # !E002\n"}, "SyntaxError"),
        ({"mysite/views.py": "def page(request:  # !E002\n"}, "SyntaxError"),
        ({"mysite/unused.py": "print 'hello'  # !E002\n"}, "SyntaxError"),
        ({"mysite/wsgi.py": GOOD["mysite/wsgi.py"] + "application.nothing  # !E001\n"},
         "AttributeError"),
        (settings("INSTALLED_APPS = ['nowhere']  # !E001"), "No module named 'nowhere'"),
        ({"mysite/asgi.py": GOOD["mysite/asgi.py"] + "raise SystemExit  # !E001\n"}, "sys.exit"),
    ],
)  # fmt: skip
def test_a_broken_project_gets_a_finding(site: Site, files: dict[str, str], words: str) -> None:
    files |= {
        "mysite/one.py": "from mysite.two import two\none = 1\n",
        "mysite/two.py": "from mysite.one import one  "
        + ("# !E001" if "mysite.one" in files.get("mysite/settings.py", "") else "")
        + "\ntwo = 2\n",
    }
    (finding,) = site.finds(files)
    assert words in finding["message"]


def test_all_that_is_broken_is_told_at_once(site: Site) -> None:
    broken = settings("1 / 0  # !E001") | {
        "mysite/asgi.py": (
            "import os\nfrom django.core.asgi import get_asgi_application\n"
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
            "application = get_wsgi_application()  # !E003\n"
        ),
        "mysite/views.py": ("import time\nasync def live(request):\n    time.sleep(1)  # !W202\n"),
    }
    assert len(site.finds(broken)) == 3


def test_a_circular_import_is_explained(site: Site) -> None:
    files = {
        "mysite/one.py": "from mysite.two import two\none = 1\n",
        "mysite/two.py": "from mysite.one import one  # !E001\ntwo = 2\n",
    }
    (finding,) = site.finds(files | settings("import mysite.one"))
    assert "import each other" in finding["mend"]


def test_what_a_project_prints_is_not_in_the_report(site: Site) -> None:
    assert site(settings("print('hello from the settings')"))["findings"] == []
