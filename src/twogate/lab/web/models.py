"""Two tables: who learns in which browser, and what they have done, as JSON by kind and key."""

from __future__ import annotations

from django.db import models

__all__ = ["Learner", "Progress"]


class Learner(models.Model):  # type: ignore[misc]
    """Somebody who learns here. No account: whoever uses this machine may choose a name.

    :ivar token: what the browser's cookie says.
    """

    token = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=40, unique=True)
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.name)


class Progress(models.Model):  # type: ignore[misc]
    """One thing that a learner has done; see :mod:`twogate.lab.web.progress` for the kinds."""

    learner = models.ForeignKey(Learner, models.CASCADE)
    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=100)
    value = models.JSONField()
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        """One row for each thing."""

        constraints = [
            models.UniqueConstraint(fields=["learner", "kind", "key"], name="one_for_each_thing")
        ]

    def __str__(self) -> str:
        return f"{self.learner}: {self.kind} {self.key}"
