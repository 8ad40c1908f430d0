"""Each view under its name."""

from django.urls import path

from . import views

urlpatterns = [
    path(f"{view.__name__}/", view)
    for view in (
        views.state, views.opens, views.page, views.async_page, views.waits, views.stubborn,
        views.streams, views.twice, views.twice_from_thread, views.file, views.upload,
        views.upload_and_wait, views.asks, views.asks_slowly, views.asks_and_waits,
        views.asks_and_streams,
    )
]  # fmt: skip
