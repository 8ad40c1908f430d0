"""What happens to them is noted, and ``/state/`` tells it."""

# mypy: ignore-errors

import asyncio
import gc
import hashlib
import tempfile
import threading
from pathlib import Path

from asgiref.sync import sync_to_async
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.db import connection
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

NOTES = []
#: What waits, waits for these; both are opened together.
GATE, ASYNC_GATE = threading.Event(), asyncio.Event()
#: Objects whose files should be closed with their request.
FILES = []


def note_finished(**_):
    NOTES.append("finished")


def backend():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


async def state(request):
    """What there is in this process, and what was noted since the last time."""
    notes, NOTES[:] = NOTES[:], []
    gc.collect()
    return JsonResponse(
        {
            "notes": notes,
            "open": [name for name, file in FILES if not file.closed],
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "temporary": sorted(file.name for file in Path(tempfile.gettempdir()).iterdir()),
        }
    )


async def opens(request):
    GATE.set()
    ASYNC_GATE.set()
    return HttpResponse("open")


def keep(name, file):
    """Have ``/state/`` tell whether a file was closed."""
    FILES[:] = [(of, kept) for of, kept in FILES if not kept.closed]
    FILES.append((name, file))


def page(request):
    return HttpResponse("page")


async def async_page(request):
    return HttpResponse("async page")


async def waits(request):
    NOTES.append("begun")
    try:
        await ASYNC_GATE.wait()
    except asyncio.CancelledError:
        NOTES.append("cancelled")
        raise
    return HttpResponse("waited")


async def stubborn(request):
    """Takes no hint."""
    NOTES.append("begun")
    try:
        await ASYNC_GATE.wait()
    except asyncio.CancelledError:
        NOTES.append("cancelled")
    response = FileResponse(tempfile.TemporaryFile())  # noqa: SIM115
    keep("of the stubborn", response.file_to_stream)
    return response


async def streams(request):
    async def pieces():
        NOTES.append("begun")
        try:
            while True:
                yield b"piece;"
                await asyncio.sleep(0.001 if "quick" in request.GET else 0.01)
        except asyncio.CancelledError:
            NOTES.append("cancelled")
            raise
        finally:
            NOTES.append("closed")

    return StreamingHttpResponse(pieces())


async def twice(request):
    async def pieces():
        yield b"first;"
        await ASYNC_GATE.wait()
        yield b"second;"

    return StreamingHttpResponse(pieces())


async def twice_from_thread(request):
    def pieces():
        yield threading.current_thread().name.encode() + b" first;"
        assert GATE.wait(15)
        yield b"second;"

    return StreamingHttpResponse(pieces())


async def file(request):
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(int(request.GET["size"]))
    keep("served", file)
    return FileResponse(file)


class Handler(FileUploadHandler):
    """One of a project's own, which sees each chunk first."""

    def new_file(self, *arguments, **keywords):
        super().new_file(*arguments, **keywords)
        self.digest, self.largest = hashlib.sha256(), 0

    def receive_data_chunk(self, raw_data, start):
        self.digest.update(raw_data)
        self.largest = max(self.largest, len(raw_data))
        return raw_data

    def file_complete(self, file_size):
        NOTES.append(f"{self.digest.hexdigest()} in chunks of {self.largest}")


class Files(TemporaryFileUploadHandler):
    """Django's, whose files lie where the test can see them."""


def received(request):
    uploaded = request.FILES["file"]
    keep("uploaded", uploaded.file)
    return uploaded


@csrf_exempt
async def upload(request):
    uploaded = received(request)
    digest = hashlib.sha256()
    for chunk in uploaded.chunks():
        digest.update(chunk)
    return HttpResponse(f"{Path(uploaded.temporary_file_path()).parent} {digest.hexdigest()}")


@csrf_exempt
async def upload_and_wait(request):
    received(request)
    return await waits(request)


async def asks(request):
    return HttpResponse(str(await sync_to_async(backend)()))


def asks_slowly(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.02)")
    return HttpResponse("slept")


async def asks_and_waits(request):
    found = await sync_to_async(backend)()
    NOTES.append("asked")
    await ASYNC_GATE.wait()
    return HttpResponse(str(found))


async def asks_and_streams(request):
    async def events():
        yield f"data: {await sync_to_async(backend)()}\n\n"
        NOTES.append("asked")
        await ASYNC_GATE.wait()
        yield "data: over\n\n"

    return StreamingHttpResponse(events(), content_type="text/event-stream")
