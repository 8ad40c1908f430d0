"""Everything that knows Django's inside; only this room and the lab import Django.

For projects: :func:`gateway` says by which gateway a view wants to be served.
"""

from twogate.django.views import gateway

__all__ = ["gateway"]
