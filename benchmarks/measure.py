"""What a measurement is: a name, the goal it checks, whom it applies to, and how it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from processes import Server
from targets import Target

#: Figures of one measurement, by metric name.
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how much.

    :ivar seconds: each load runs this long.
    :ivar size: bytes of the large transfers of P11.
    :ivar slow: seconds for which P11's other side takes 1 MB/s; the rest goes at full speed.
    """

    seconds: float = 5.0
    size: int = 1 << 30
    slow: float = 20.0


QUICK = Settings(seconds=2.0, size=1 << 27, slow=3.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a table.

    :ivar ratio: compare it with the best peer's.
    :ivar versus: compare with this metric of the peers, who do not have the metric itself.
    """

    name: str
    unit: str
    lower_is_better: bool = False
    ratio: bool = True
    versus: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One of the measurements P1 to P12."""

    key: str
    title: str
    goal: str
    metrics: tuple[Metric, ...]
    applies: Callable[[Target], bool]
    take: Callable[[Server, Settings], Figures]
    #: Memory hardly varies: one round says it all.
    every_round: bool = True
    needs_wrk: bool = True
    #: What it counts would be blurred by what the others leave behind: a server started for it.
    own_server: bool = False
    #: The project runs on PostgreSQL. Other settings, hence ``own_server`` as well.
    database: bool = False
