"""Recall cards, and prompts to explain something in one's own words, as data.

Each names the questions whose proofs show what it says; a test runs them all. When a card comes
again is the affair of :mod:`twogate.lab.schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARDS", "PROMPTS", "Card", "Prompt"]


@dataclass(frozen=True, slots=True)
class Card:
    """A question and its answer.

    :ivar key: stable: progress is kept under it.
    :ivar shown_by: the key of a question in the bank.
    """

    key: str
    question: str
    answer: str
    shown_by: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something to explain in one's own words.

    :ivar key: stable: progress is kept under it.
    :ivar points: what a good explanation has in it, to be ticked off.
    :ivar ours: our explanation, to be read beside the learner's.
    :ivar shown_by: keys of questions in the bank.
    """

    key: str
    text: str
    points: tuple[str, ...]
    ours: str
    shown_by: tuple[str, ...]


CARDS = (
    Card(
        "wsgi-letters",
        "What does WSGI stand for, and what is it for?",
        "Web Server Gateway Interface: how a Python web server calls a web application for one HTTP"
        " request. Any server that speaks it can serve any application that does.",
        "servers.who_can_call_wsgi",
    ),
    Card(
        "asgi-letters",
        "What does ASGI stand for, and what is it for?",
        "Asynchronous Server Gateway Interface: how a Python web server awaits an application for"
        " one connection, of HTTP or of a WebSocket.",
        "asgi.types_of_scope",
    ),
    Card(
        "wsgi-call",
        "With which two arguments is a WSGI application called?",
        "`environ`, a dict of the request, and `start_response`, a function that takes status and"
        " headers. It returns the body as an iterable of bytes.",
        "wsgi.how_wsgi_is_called",
    ),
    Card(
        "asgi-call",
        "With which three arguments is an ASGI application awaited?",
        "`scope`, a dict that describes the connection, and the coroutine functions `receive` and"
        " `send`, which carry events.",
        "asgi.main_difference",
    ),
    Card(
        "difference",
        "The main difference between the two, in a sentence?",
        "WSGI is a call that returns one response; ASGI is an `await` during which events go both"
        " ways.",
        "asgi.main_difference",
    ),
    Card(
        "scope-types",
        "Where does an ASGI application see whether it serves a page or a WebSocket?",
        "In `scope['type']`: `http` or `websocket`.",
        "asgi.types_of_scope",
    ),
    Card(
        "http-events",
        "Which events make up one HTTP response through ASGI?",
        "`http.response.start` with status and headers, then `http.response.body`, once or several"
        " times.",
        "asgi.events_of_http",
    ),
    Card(
        "generator",
        "When does the body of a WSGI application that is a generator begin to run?",
        "When the server asks for the first piece, and not when it calls the application.",
        "wsgi.generator_application",
    ),
    Card(
        "wsgi-close",
        "What does a WSGI server do after the last piece of the body?",
        "It calls `close()` of what the application returned. Django ends the request there.",
        "wsgi.steps_of_wsgi",
    ),
    Card(
        "wsgi-websocket",
        "Can WSGI carry a WebSocket?",
        "No: one request, one response. The server refuses; Twogate answers 501 and says why.",
        "websockets.websocket_meets_wsgi",
    ),
    Card(
        "asgi-matters",
        "Why does ASGI matter for chat, notifications and streaming?",
        "Their connections stay open and mostly wait. On a loop a waiting connection is a task, not"
        " a thread.",
        "streaming.many_open_streams",
    ),
    Card(
        "request-model",
        "Many requests at once: how do the two models differ?",
        "Through WSGI each holds a worker thread until it is answered. Through ASGI many share one"
        " thread, and take turns at each `await`.",
        "threads.waiting_through_asgi",
    ),
    Card(
        "four-threads",
        "4 worker threads, 12 visitors, views that wait: how many at once through WSGI?",
        "4. The other 8 queue.",
        "threads.waiting_through_wsgi",
    ),
    Card(
        "asgi-declaration",
        "The two lines that `asgi.py` needs?",
        "`from django.core.asgi import get_asgi_application` and `application ="
        " get_asgi_application()`.",
        "servers.declaration_in_asgi",
    ),
    Card(
        "name-error",
        "`asgi.py` imports `get_asgi_application` and calls `get_wsgi_application()`. What"
        " happens?",
        "NameError on the line of the call, as soon as a server imports the file.",
        "servers.when_the_name_error_shows",
    ),
    Card(
        "async-under-wsgi",
        "What does an async view do under WSGI?",
        "It runs in an event loop made for this one request, and its response comes back. It only"
        " costs more than a sync view.",
        "views.async_view_through_wsgi",
    ),
    Card(
        "sync-under-asgi",
        "Where does a sync view run under ASGI?",
        "On a thread beside the loop's.",
        "views.sync_view_through_asgi",
    ),
    Card(
        "task-under-wsgi",
        "A task that an async view started and did not await: what becomes of it under WSGI?",
        "It is cancelled when the view returns, because its loop ends.",
        "views.background_task_through_wsgi",
    ),
    Card(
        "blocking",
        "What does `time.sleep(1)` in an async view do to the other visitors?",
        "They all wait: it holds the loop's only thread.",
        "views.blocking_call_in_async_view",
    ),
    Card(
        "middleware-order",
        "In which order do middlewares see the request and the response?",
        "The request from top to bottom of the list, the response from bottom to top.",
        "middleware.order_of_middleware",
    ),
    Card(
        "middleware-hops",
        "What does a sync middleware between async ones cost?",
        "A hop to a thread of its own. Sync middlewares in a row share one.",
        "middleware.hops_of_middleware",
    ),
    Card(
        "thread-sensitive",
        "What does `thread_sensitive=True`, the default of `sync_to_async`, mean?",
        "All such calls of one context run on the same thread, one after the other.",
        "threads.sync_to_async_in_parallel",
    ),
    Card(
        "accept",
        "What does `await self.accept()` in a consumer do?",
        "It completes the opening handshake. From then on messages can go both ways.",
        "channels.consumer_accepts",
    ),
    Card(
        "no-accept",
        "A consumer's `connect` neither accepts nor closes. What does the client see?",
        "Nothing; it waits.",
        "channels.consumer_says_nothing",
    ),
    Card(
        "refusal",
        "What does a client see when the application closes before it accepts?",
        "HTTP status 403.",
        "websockets.close_before_accept",
    ),
    Card(
        "status-101",
        "Which status opens a WebSocket?",
        "101, Switching Protocols.",
        "websockets.status_that_opens",
    ),
    Card(
        "group",
        "Does the sender get its own `group_send`?",
        "Yes, if its channel is in the group.",
        "channels.who_gets_a_group_message",
    ),
    Card(
        "memory-layer",
        "Why is `InMemoryChannelLayer` not enough for two worker processes?",
        "Each process has a layer of its own: messages do not cross.",
        "channels.layer_in_memory",
    ),
    Card(
        "sync-query",
        "A sync query in an async view?",
        "SynchronousOnlyOperation, before the database is asked.",
        "databases.sync_query_in_async_view",
    ),
    Card(
        "connections",
        "How many database connections do four threads open?",
        "Four: each thread has its own.",
        "databases.connections_of_threads",
    ),
    Card(
        "sync-stream",
        "A sync generator in a `StreamingHttpResponse`, through Django's own ASGI handler?",
        "Django reads it whole first, and warns. Use an async generator there.",
        "streaming.sync_stream_through_asgi",
    ),
    Card(
        "older",
        "Which of the two is older, and when is it still the simpler choice?",
        "WSGI. For a site of pages that are asked for and answered, with nothing live.",
        "deployment.which_is_older",
    ),
    Card(
        "pages-and-chat",
        "A site with pages and a chat: which server?",
        "One that opens both gateways on one port.",
        "deployment.pages_and_chat",
    ),
    Card(
        "router",
        "What does `ProtocolTypeRouter` look at?",
        "Only `scope['type']`: `http` goes to Django, `websocket` to consumers.",
        "channels.router_by_protocol",
    ),
)

PROMPTS = (
    Prompt(
        "two-interfaces",
        "Explain to a colleague what WSGI and ASGI are, and how they differ.",
        (
            "Both say how a server and an application talk to each other.",
            "WSGI: one call with `environ` and `start_response`, one response.",
            "ASGI: awaited with `scope`, `receive` and `send`; events go both ways.",
            "Only ASGI carries WebSockets.",
        ),
        "Both are agreements between a web server and a Python application, so that each can be"
        " exchanged. A WSGI server calls the application once for a request, with a dict and a"
        " function, and gets the body back. An ASGI server awaits the application, with a scope and"
        " two functions for events; as events may go to and fro for as long as both like, a"
        " WebSocket fits in as well as a page.",
        ("wsgi.how_wsgi_is_called", "asgi.main_difference", "websockets.websocket_meets_wsgi"),
    ),
    Prompt(
        "no-websocket",
        "Why can WSGI not carry a WebSocket?",
        (
            "A WebSocket is a conversation that stays open.",
            "A WSGI call has one request and one response, then it is over.",
            "So the server refuses the opening request with an HTTP error.",
            "Pages go on working.",
        ),
        "A WebSocket stays open, and either side may speak at any time. A WSGI application is"
        " called with one request and returns one response; there is no way to say “more will come”"
        " from the client's side, or to speak first. The server can only refuse, and it does so"
        " while the connection still speaks HTTP. Pages are not affected.",
        ("websockets.websocket_meets_wsgi", "websockets.life_of_a_websocket"),
    ),
    Prompt(
        "async-under-wsgi",
        "What happens to an `async def` view on a WSGI server?",
        (
            "It works: the response comes back.",
            "Django runs it in an event loop made for this request.",
            "The worker thread is held all the time, so nothing is won.",
            "Tasks that it leaves behind are cancelled with the loop.",
        ),
        "It is served. The WSGI handler is sync, so Django wraps the view in `async_to_sync`: a"
        " loop is started, the view runs in it to its end, the loop is closed. The thread waits all"
        " that time, so no other visitor gains, and the adapter costs a little. Whatever belonged"
        " to that loop, such as a task in the background, ends with it.",
        (
            "views.async_view_through_wsgi",
            "views.loops_through_wsgi",
            "views.background_task_through_wsgi",
        ),
    ),
    Prompt(
        "sync-under-asgi",
        "What happens to an ordinary view on an ASGI server, and what does it cost?",
        (
            "It works, too.",
            "It runs on a thread beside the loop, by `sync_to_async`.",
            "The hop to a thread and back takes time.",
            "With Django's own handler its database connection does not persist.",
        ),
        "It is served as well. As it might block, Django runs it on another thread and awaits that."
        " Each request pays for the hop there and back. Django's own handler makes the thread for"
        " the request, so the database connection goes with it, whatever CONN_MAX_AGE says.",
        (
            "views.sync_view_through_asgi",
            "views.who_is_adapted",
            "databases.connections_that_persist",
        ),
    ),
    Prompt(
        "many-visitors",
        "A hundred visitors ask at once for a view that waits. What happens through each gateway?",
        (
            "WSGI: each request holds a worker thread.",
            "As many wait at once as there are threads; the rest queue.",
            "ASGI: each request is a task on one loop.",
            "All wait together on one thread, if the view awaits.",
            "If the view computes or blocks, ASGI does not help.",
        ),
        "Through WSGI, each visitor's request takes a worker thread until it is answered. With four"
        " threads four wait at once and the others queue. Through ASGI, each request is a task; at"
        " its `await` the loop turns to the next visitor, so all wait together. That is only so if"
        " the view really awaits: one that computes or blocks holds the only thread.",
        (
            "threads.waiting_through_wsgi",
            "threads.waiting_through_asgi",
            "views.blocking_call_in_async_view",
        ),
    ),
    Prompt(
        "accepting",
        "Tell the life of a WebSocket, from the browser's request to its end, in Channels' words.",
        (
            "The browser sends an HTTP request that asks for an upgrade.",
            "The consumer's `connect` is called.",
            "`accept()` completes the handshake with status 101.",
            "`receive` is called for each message, `send` sends one.",
            "`disconnect` is called at the end.",
        ),
        "It begins as an HTTP request that asks to switch protocols. The server tells the consumer,"
        " whose `connect` decides. `await self.accept()` makes the server answer 101, and the"
        " connection is a WebSocket from then on; `close()` instead would be answered 403. Each"
        " message calls `receive`, the consumer speaks with `send`, and however it ends,"
        " `disconnect` comes last.",
        (
            "channels.consumer_accepts",
            "channels.methods_of_a_consumer",
            "websockets.status_that_opens",
            "websockets.close_before_accept",
        ),
    ),
    Prompt(
        "entry-points",
        "What are `wsgi.py` and `asgi.py` for, and how can they go wrong?",
        (
            "A server imports the file and takes the name `application`.",
            "Each must call the getter that it imports, and the one for its gateway.",
            "A wrong name is a NameError when the file is imported.",
            "The wrong kind of application fails only when a request is served.",
        ),
        "They are what a server imports: each has one name, `application`, made by the getter of"
        " its gateway. Call a getter that was not imported and the import ends with a NameError,"
        " before any request. Import and call the other gateway's getter and the file loads, but"
        " the server passes the wrong number of arguments: TypeError for each request.",
        (
            "servers.declaration_in_asgi",
            "servers.name_error_in_asgi",
            "servers.wsgi_handler_in_asgi",
        ),
    ),
    Prompt(
        "choosing",
        "Which gateway would you choose for: a company's pages; a chat with many users; live"
        " notifications; pages and WebSockets together?",
        (
            "Plain pages: WSGI is the simpler choice.",
            "Chat: ASGI, as it needs WebSockets.",
            "Live notifications: ASGI, as open streams would hold threads.",
            "Both together: one server with both gateways.",
        ),
        "For pages that are asked for and answered, WSGI: threads are simple and everything works"
        " in them. A chat needs WebSockets, which only ASGI carries. Notifications keep a stream"
        " open for each visitor; through WSGI each would take a thread. A site with both kinds"
        " takes one server that has both gateways, so that each request goes where it fits.",
        (
            "deployment.which_is_older",
            "deployment.who_gains_from_asgi",
            "streaming.many_open_streams",
            "deployment.pages_and_chat",
        ),
    ),
    Prompt(
        "separate-server",
        "Somebody proposes a second server for the chat, or to switch async off. What do you say?",
        (
            "Without the WebSocket side there is no chat at all.",
            "A second server needs its own port, and a proxy that routes.",
            "It also means two deployments and two logs.",
            "One server with both gateways serves both on one port.",
        ),
        "With async switched off the pages work and the chat does not. A second server works, at"
        " the price of a second port, routing in a proxy, and a second thing to deploy and to"
        " watch. One server that opens both gateways gives the same on one port.",
        ("deployment.pages_and_chat", "deployment.gateway_by_view"),
    ),
    Prompt(
        "middleware",
        "Why can one sync middleware undo what an async view is for?",
        (
            "Under ASGI, sync middleware runs on a thread.",
            "It waits there for the response of what is below it.",
            "So each waiting request holds a thread again.",
            "Middleware that can do both avoids that.",
        ),
        "Django cannot know that it does not block, so it runs the middleware on a thread, and from"
        " there goes back to the loop for the view. While the view waits, that thread waits for"
        " `get_response`. A middleware that declares both kinds, and returns a coroutine function"
        " when it is given one, leaves the whole chain on the loop.",
        ("middleware.sync_middleware_async_view", "middleware.both_kinds_of_middleware"),
    ),
    Prompt(
        "execution-table",
        "Read the four rows of the execution table aloud: who carries what, and how is it called?",
        (
            "WSGI server, HTTP: called on a thread, answered.",
            "ASGI server, HTTP: awaited on the loop, answered.",
            "ASGI server, WebSocket: awaited, accepted.",
            "WSGI server, WebSocket: the application is not called; refused.",
            "Only the last row would change if WSGI could carry WebSockets.",
        ),
        "A page through WSGI is a plain call on a worker thread. The same page through ASGI is"
        " awaited on the loop. A WebSocket through ASGI is awaited as well, and accepted. Through"
        " WSGI the server refuses it without a call; that is the one row which would differ if WSGI"
        " could do it.",
        ("websockets.row_that_would_change", "websockets.rows_that_are_awaited"),
    ),
    Prompt(
        "database",
        "What must one know about the database in async code?",
        (
            "Sync queries on the loop raise SynchronousOnlyOperation.",
            "The async methods begin with `a` and must be awaited.",
            "Connections belong to threads.",
            "A transaction belongs into one sync function.",
        ),
        "A query that blocks the loop would stop everybody, so Django refuses it there. There are"
        " async methods, whose names begin with `a`. Underneath, the work is done on a thread, and"
        " the connection belongs to that thread; this is why a transaction, which is a state of one"
        " connection, goes into one function called by `sync_to_async`.",
        (
            "databases.sync_query_in_async_view",
            "databases.async_methods_of_the_orm",
            "databases.connections_of_threads",
            "databases.transaction_in_async_view",
        ),
    ),
)
