from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.site import Site, marks

from twogate.django.audit.blocking import check_blocking
from twogate.django.audit.source import Code, Source
from twogate.django.discovery import Project

IMPORTS = """\
import asyncio, os, pathlib, queue, requests, socket, subprocess, threading, time
import urllib.request
from asgiref.sync import async_to_sync, sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from django.db import connection, transaction
from django.shortcuts import aget_object_or_404, get_object_or_404
from django.views import View
from shop.models import Shop
lock = threading.Lock()
jobs = queue.Queue()
"""


def check(tmp_path: Path, text: str) -> None:
    """The findings in a module are where its marks are."""
    file = tmp_path / "views.py"
    file.write_text(IMPORTS + text, encoding="utf-8")
    code = Source(Project("mysite.settings", tmp_path, "a test")).read(file)
    assert code is not None and code.tree is not None, text
    found = {(f.rule.code, "views.py", f.line) for f in check_blocking(code)}
    assert found == marks({"views.py": IMPORTS + text})


def view(*lines: str) -> str:
    return "async def view(request, pk):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["time.sleep(1)  # !W202"],
        ["from time import sleep as nap", "nap(1)  # !W202"],
        ["requests.get('http://a')  # !W203"],
        ["with requests.Session() as s:", "    s.post('http://a')  # !W203"],
        ["urllib.request.urlopen('http://a')  # !W203"],
        ["import httpx", "client = httpx.Client()", "client.get('http://a')  # !W203"],
        ["with open('a') as file:  # !W204", "    file.read()"],
        ["pathlib.Path('a').read_text()  # !W204"],
        ["subprocess.run(['ls'])  # !W205"],
        ["os.system('ls')  # !W205"],
        ["child = subprocess.Popen(['ls'])", "child.wait()  # !W205"],
        ["socket.create_connection(('a', 1))  # !W206"],
        ["s = socket.socket()", "s.connect(('a', 1))  # !W206"],
        ["lock.acquire()  # !W207"],
        ["with lock:  # !W207", "    pass"],
        ["jobs.get()  # !W207"],
        ["Shop.objects.get(pk=pk)  # !E201"],
        ["return Shop.objects.filter(pk=pk).exclude(a=1).first()  # !E201"],
        ["for shop in Shop.objects.all():  # !E201", "    pass"],
        ["[shop for shop in Shop.objects.all()[:5]]  # !E201"],
        ["list(Shop.objects.filter(pk=pk))  # !E201"],
        ["shops = Shop.objects.filter(pk=pk)", "shops = shops.order_by('a')",
         "return shops.count()  # !E201"],
        ["shop = await Shop.objects.aget(pk=pk)", "shop.name = 'a'", "shop.save()  # !E201"],
        ["get_object_or_404(Shop, pk=pk)  # !E201"],
        ["with transaction.atomic():  # !E201", "    pass"],
        ["with connection.cursor() as cursor:  # !E201", "    pass"],
        ["async def lines():", "    time.sleep(1)  # !W202", "    yield 'a'", "return lines()"],
        ["if pk:", "    try:", "        time.sleep(1)  # !W202", "    finally:", "        pass"],
        ["return f'{Shop.objects.count()}'  # !E201"],
    ],
)  # fmt: skip
def test_a_blocking_call_is_found(tmp_path: Path, lines: list[str]) -> None:
    check(tmp_path, view(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        ["await asyncio.sleep(1)"],
        ["await asyncio.to_thread(time.sleep, 1)"],
        ["await sync_to_async(time.sleep)(1)"],
        ["await sync_to_async(Shop.objects.get)(pk=pk)"],
        ["await sync_to_async(lambda: Shop.objects.get(pk=pk))()"],
        ["await sync_to_async(list)(Shop.objects.all())"],
        ["await Shop.objects.aget(pk=pk)"],
        ["return [shop async for shop in Shop.objects.all()]"],
        ["async for shop in Shop.objects.all():", "    pass"],
        ["async for shop in Shop.objects.all().aiterator():", "    pass"],
        ["shops = Shop.objects.filter(pk=pk)", "await shops.acount()"],
        ["await aget_object_or_404(Shop, pk=pk)"],
        ["shop = await Shop.objects.aget(pk=pk)", "await shop.asave()"],
        ["def work():", "    time.sleep(1)", "await asyncio.to_thread(work)"],
        ["@sync_to_async", "def work():", "    return Shop.objects.get(pk=pk)", "await work()"],
        ["@database_sync_to_async", "def work():", "    time.sleep(1)", "await work()"],
        ["await asyncio.get_running_loop().run_in_executor(None, lambda: time.sleep(1))"],
        ["lock.acquire(blocking=False)"],
        ["lock.acquire(False)"],
        ["lock = asyncio.Lock()", "async with lock:", "    pass"],
        ["time = request.clock", "time.sleep(1)"],
        ["from aiofiles import open", "async with open('a') as file:", "    pass"],
        ["import httpx", "async with httpx.AsyncClient() as client:", "    await client.get('a')"],
        ["shops = await request.shops()", "for shop in shops:", "    shop.count()"],
        ["names = ['a']", "names.count('a')", "{'a': 1}.get('a')", "set().update(names)"],
        ["request.GET.get('a')", "request.session.get('a')", "request.session.delete('a')"],
        ["view = transaction.atomic(print)"],
        ["shop = Shop(name='a')", "shop = request.shop", "shop.save()"],
        ["requests = request.requests", "requests.get('a')"],
        ["client = asyncio.Queue()", "await client.get()"],
        ["class Local:", "    def run(self): time.sleep(1)"],
        ["task = lambda: time.sleep(1)", "return task"],
    ],
)
def test_what_does_not_block_is_left_alone(tmp_path: Path, lines: list[str]) -> None:
    check(tmp_path, view(*lines))


@pytest.mark.parametrize(
    "text",
    [
        "def helper(): time.sleep(1)  # !W202\nasync def view(request): helper()\n",
        "async def helper(): time.sleep(1)  # !W202\nasync def view(request): await helper()\n",
        "class Page(View):\n    def load(self, pk): return Shop.objects.get(pk=pk)  # !E201\n"
        "    async def get(self, request): return self.load(1)\n",
        "class Chat(AsyncWebsocketConsumer):\n    async def receive(self, text_data):\n"
        "        Shop.objects.create(text=text_data)  # !E201\n",
        "class Chat(AsyncJsonWebsocketConsumer):\n    async def disconnect(self, code):\n"
        "        self.log(code)\n    def log(self, code): open('log')  # !W204\n",
    ],
)
def test_views_consumers_and_their_helpers_are_followed(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "def view(request): time.sleep(1)\n",
        "async def job(): time.sleep(1)\n",  # nobody says that a server runs it
        "def helper(): time.sleep(1)\nasync def view(request): await asyncio.to_thread(helper)\n",
        "@database_sync_to_async\ndef helper(): time.sleep(1)\n"
        "async def view(request): await helper()\n",
        "def helper():\n    yield\n    time.sleep(1)\nasync def view(request): helper()\n",
        "class Chat(AsyncWebsocketConsumer):\n    @database_sync_to_async\n"
        "    def load(self): return Shop.objects.get(pk=1)\n"
        "    async def connect(self): await self.load()\n",
        "@async_to_sync\nasync def view(request): time.sleep(1)\n",
    ],
)
def test_what_runs_elsewhere_is_left_alone(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)


def test_a_view_is_known_by_its_route(site: Site) -> None:
    site.finds(
        {
            "mysite/urls.py": (
                "from django.urls import path\nfrom mysite import views\n"
                "urlpatterns = [path('', views.live)]\n"
            ),
            "mysite/views.py": (
                "import time\nasync def live(r, *rest):\n    time.sleep(1)  # !W202\n"
                "async def job(r):\n    time.sleep(1)\n"
            ),
        }
    )


def test_tests_and_commands_are_not_served(site: Site) -> None:
    text = "import time\nasync def view(request): time.sleep(1)\n"
    site.finds(
        {
            "mysite/tests.py": text,
            "mysite/test_views.py": text,
            "mysite/management/commands/run.py": text,
            ".venv/pyvenv.cfg": "",
            ".venv/lib/thing.py": text,
            "env/pyvenv.cfg": "",
            "env/lib/thing.py": text,
        }
    )


@given(st.text(st.sampled_from("abc.()[]:=\n \t,'awitnasyncdef"), max_size=60))
def test_no_text_upsets_it(text: str) -> None:
    code = Code(Path("/views.py"), f"async def view(request):\n  pass\n{text}".encode())
    assert code.tree is not None or code.error is not None
    list(check_blocking(code))
