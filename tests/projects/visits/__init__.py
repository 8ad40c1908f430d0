"""A Django project of views that wait, stream and take uploads, and that say what became of them.

It is served by servers of their own, from the folder above: ``visits.settings``.
"""
