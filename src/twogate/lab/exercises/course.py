"""The exercises in their order: texts, starting code, hints and solutions. Data alone."""

from __future__ import annotations

from twogate.lab.exercises.exercise import Exercise, given

__all__ = ["EXERCISES", "STEPS", "find", "owner"]

_GIVEN = given()

_FACTS = Exercise(
    key="facts",
    title="The project's facts",
    file="myproject/entry.py",
    text=[
        "A server that is to serve a Django project must know two facts: what the project is"
        " called,"
        " and which module holds its settings.",
        "Write a dict called `django_project` with the key `'name'`, which is `'myproject'`, and"
        " the"
        " key `'settings_module'`, which is `'myproject.settings'`.",
        "The check reads the dict and has Python import the settings that it names.",
    ],
    start="# Step 1: a dict with the project's facts\n\n",
    solution='django_project = {\n    "name": "myproject",\n'
    '    "settings_module": "myproject.settings",\n}\n',
    hints=[
        "A dict stands between braces, and each entry is a key, a colon and a value.",
        "The settings are in the file `myproject/settings.py`; a module's name has dots and no"
        " `.py`.",
        "`django_project = {'name': 'myproject', 'settings_module': …}`",
    ],
    mistakes=[
        "To write the file's name, `'myproject/settings.py'`: Python imports modules, by dotted"
        " names.",
        "To forget the quotes: `myproject` without them is a variable, and there is none.",
    ],
)

_NAMES = Exercise(
    key="names",
    title="Where the doors are",
    file="myproject/entry.py",
    before=_FACTS,
    text=[
        "A project has a door for each kind of server: `myproject/wsgi.py` and `myproject/asgi.py`."
        " Each file has a variable called `application`.",
        "Set `wsgi_application` and `asgi_application` to strings that name these two variables, as"
        " the settings `WSGI_APPLICATION` and `ASGI_APPLICATION` do.",
        "The check has Django follow both names and shows what it finds there.",
    ],
    start="# Step 2: the names of the two applications\n\n",
    solution='wsgi_application = "myproject.wsgi.application"\n'
    'asgi_application = "myproject.asgi.application"\n',
    hints=[
        "Such a name is the module's dotted name, a dot, and the variable's name.",
        "The module of `myproject/wsgi.py` is `myproject.wsgi`.",
        "`wsgi_application = 'myproject.wsgi.application'`, and likewise for ASGI.",
    ],
    mistakes=[
        "To write `'myproject.wsgi:application'`. With a colon, servers take it on the command"
        " line;"
        " Django's settings take a dot.",
        "To leave `.application` away: then the name leads to a module, and no server can call"
        " that.",
    ],
)

_CALLABLES = Exercise(
    key="callables",
    title="The two callables",
    file="myproject/entry.py",
    before=_NAMES,
    text=[
        "Django makes the callables itself. `get_wsgi_application` in `django.core.wsgi` returns"
        " one"
        " that a server calls; `get_asgi_application` in `django.core.asgi` returns one that a"
        " server"
        " awaits. Both load the settings and the apps first.",
        "Import both functions. Call them, and keep what they return as `application_wsgi` and"
        " `application_asgi`.",
        "The check has said which settings to load, as `manage.py` does, and then asks both"
        " callables for the same page.",
    ],
    start="# Step 3: import both functions and call them\n\n",
    solution="from django.core.asgi import get_asgi_application\n"
    "from django.core.wsgi import get_wsgi_application\n\n"
    "application_wsgi = get_wsgi_application()\napplication_asgi = get_asgi_application()\n",
    hints=[
        "You need two imports and two assignments.",
        "A function's name followed by `()` calls it. Without these, the variable is the function.",
        "`from django.core.wsgi import get_wsgi_application`, then"
        " `application_wsgi = get_wsgi_application()`.",
    ],
    mistakes=[
        "To forget the parentheses: the server would then call `get_wsgi_application` for each"
        " request, with arguments that it does not take.",
        "To import one function and call the other: that is a `NameError`.",
    ],
)

_ENTRIES = Exercise(
    key="entries",
    title="The two entry points",
    file="myproject/entry.py",
    before=_CALLABLES,
    text=[
        "A server looks for a variable in a module. Most servers look for `application` unless they"
        " are told another name.",
        "Let `application` be `application_wsgi`, and `asgi_application_entry` be"
        " `application_asgi`.",
        "The check has Twogate serve both on one port, and a client asks for a sync view and an"
        " async view.",
    ],
    start="# Step 4: the two entry points\n\n",
    solution="application = application_wsgi\nasgi_application_entry = application_asgi\n",
    hints=[
        "Nothing new is made here: an object that is there gets a second name.",
        "The new name stands on the left of the `=`.",
        "`application = application_wsgi`",
    ],
    mistakes=[
        "To call again: `application_wsgi()` calls the application itself, as a server does for a"
        " request.",
        "To put the name between quotes: a server cannot call a string.",
    ],
)

#: The guided build.
STEPS = (_FACTS, _NAMES, _CALLABLES, _ENTRIES)

_ASGI = '''"""The asynchronous door."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "myproject.settings")

application = {call}()
'''

_MISTAKE = Exercise(
    key="mistake",
    title="Find the mistake",
    file="myproject/asgi.py",
    text=[
        "This `asgi.py` was made from a copy of `wsgi.py`. Press Check to see what happens when a"
        " server imports it, then correct it.",
        "The check has Twogate serve the file through ASGI.",
    ],
    start=_ASGI.format(call="get_wsgi_application"),
    solution=_ASGI.format(call="get_asgi_application"),
    hints=[
        "The message names a line and a name that Python does not know there.",
        "Compare the name that is imported with the name that is called.",
        "An `asgi.py` imports and calls `get_asgi_application`.",
    ],
    mistakes=[
        "To import `get_wsgi_application` as well. The error goes away, and the file then holds a"
        " WSGI application under the name of an ASGI one.",
    ],
)

_VIEW = Exercise(
    key="view",
    title="An async view that does not block",
    file="myproject/views.py",
    text=[
        "An async view runs on the event loop, together with all other connections. Whoever blocks"
        " there stops them all.",
        "`wait` is an async view and waits in the wrong way. Change it so that two requests can"
        " wait"
        " at the same time.",
        "The check calls the view twice on one event loop and counts how many are inside it at"
        " once."
        " It measures no time.",
    ],
    start=_GIVEN["myproject/views.py"]
    .replace("import asyncio", "import time")
    .replace("await asyncio.sleep", "time.sleep"),
    solution=_GIVEN["myproject/views.py"],
    hints=[
        "`time.sleep` holds the whole thread, and the event loop is on that thread.",
        "`asyncio` has a `sleep` of its own. It is a coroutine: it does nothing until it is"
        " awaited.",
        "`import asyncio`, and in the view `await asyncio.sleep(0.2)`.",
    ],
    mistakes=[
        "To write `asyncio.sleep(0.2)` without `await`: nobody waits at all.",
        "To make the view sync. Then it blocks a thread instead of the loop, and a thread is"
        " held for"
        " each visitor who waits.",
    ],
)

_CONSUMER = Exercise(
    key="consumer",
    title="A WebSocket consumer",
    file="myproject/consumers.py",
    text=[
        "A view answers one request. A consumer lives as long as its WebSocket: Channels awaits"
        " `connect` when a client knocks, `receive` for each message, and `disconnect` at the end.",
        "Write the class `ChatConsumer`, an `AsyncWebsocketConsumer`. It accepts each client, sends"
        " every text back, and has a `disconnect`, which may print something.",
        "The check has Twogate serve the consumer. A client connects, sends two messages and"
        " leaves.",
    ],
    start="from channels.generic.websocket import AsyncWebsocketConsumer\n\n\n"
    "class ChatConsumer(AsyncWebsocketConsumer):\n    pass\n",
    solution=_GIVEN["myproject/consumers.py"],
    hints=[
        "All three methods are `async def`, and what they do is awaited.",
        "The signatures are `connect(self)`, `receive(self, text_data=None, bytes_data=None)` and"
        " `disconnect(self, close_code)`.",
        "`connect` does `await self.accept()`; `receive` does"
        " `await self.send(text_data=text_data)`.",
    ],
    mistakes=[
        "To override `connect` without `await self.accept()`: the client goes on waiting.",
        "To forget an `await`. `self.send(…)` alone makes a coroutine, and nothing is sent.",
    ],
)

_ROUTING = Exercise(
    key="routing",
    title="Routes for WebSockets",
    file="myproject/routing.py",
    text=[
        "`urls.py` says which path goes to which view. WebSockets have such a list, too.",
        "Write the list `websocket_urlpatterns` with one route: `ws/chat/` leads to `ChatConsumer`,"
        " which is in `myproject/consumers.py`.",
        "The check has a client open a WebSocket to `/ws/chat/`.",
    ],
    start="from django.urls import path\n\nfrom myproject.consumers import ChatConsumer\n\n",
    solution=_GIVEN["myproject/routing.py"],
    hints=[
        "It is a list with a `path(…)` in it, as in `urls.py`.",
        "A class of consumers becomes an application by `as_asgi()`, as a class of views becomes a"
        " view by `as_view()`.",
        "`path('ws/chat/', ChatConsumer.as_asgi())`",
    ],
    mistakes=[
        "To begin the route with a slash: Django matches what comes after the first one.",
        "To pass the class itself: each connection needs a consumer of its own, and `as_asgi()`"
        " makes them.",
    ],
)

_PROTOCOLS = Exercise(
    key="protocols",
    title="Pages and WebSockets together",
    file="myproject/asgi.py",
    text=[
        "Now `asgi.py` gets both kinds of connection. Django's application knows HTTP alone, so a"
        " router stands before it.",
        "Let `application` be a `ProtocolTypeRouter` of a dict: `'http'` leads to Django's"
        " application, `'websocket'` to a `URLRouter` of `websocket_urlpatterns`.",
        "The check asks this one application for a page and for a WebSocket.",
    ],
    start=_GIVEN["myproject/asgi.py"].partition("application = ProtocolTypeRouter")[0]
    + "application = django_application\n",
    solution=_GIVEN["myproject/asgi.py"],
    hints=[
        "A `ProtocolTypeRouter` takes one dict: kinds of connection, and who serves them.",
        "The value of `'websocket'` is `URLRouter(websocket_urlpatterns)`.",
        "`application = ProtocolTypeRouter({'http': django_application, 'websocket': …})`",
    ],
    mistakes=[
        "To import the routes before `get_asgi_application()` was called. Consumers often use"
        " models, and these can be imported only when Django is loaded.",
        "To write `'ws'` as the key: the kind of a connection is called `'websocket'`.",
    ],
)

_BOTH = Exercise(
    key="both",
    title="Through both doors",
    file="myproject/settings.py",
    text=[
        "Two settings say where the doors are. A server that knows one of them reads one line;"
        " Twogate reads both.",
        "Add `WSGI_APPLICATION` and `ASGI_APPLICATION`.",
        "The check has Twogate serve your project: your files, where you have done their exercises."
        " A client asks for a sync view, an async view and a WebSocket.",
    ],
    start=_GIVEN["myproject/settings.py"].partition("WSGI_APPLICATION")[0],
    solution=_GIVEN["myproject/settings.py"],
    hints=[
        "The values are the strings of step 2.",
        "The file is `myproject/wsgi.py`, and its variable is `application`.",
        "`WSGI_APPLICATION = 'myproject.wsgi.application'`",
    ],
    mistakes=[
        "To name a module without its variable.",
        "To leave one out: a server then has to guess where that door is.",
    ],
)

EXERCISES = (*STEPS, _MISTAKE, _VIEW, _CONSUMER, _ROUTING, _PROTOCOLS, _BOTH)


def find(key: str) -> Exercise | None:
    """The exercise of a key."""
    return next((exercise for exercise in EXERCISES if exercise.key == key), None)


def owner(file: str) -> Exercise | None:
    """Whose code becomes a file of the project: the last exercise that writes it."""
    return next((exercise for exercise in reversed(EXERCISES) if exercise.file == file), None)
