"""The benchmark's one command runs, measures Twogate and writes its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .conftest import run

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMAND = FOLDER / "run.py"
FLAGS = ("--quick", "--seconds=0.5", "--only=P6,P12", "--servers=twogate")


def test_a_run_writes_a_table_and_the_raw_figures(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    run([sys.executable, str(COMMAND), *FLAGS, f"--output={table}"], tmp_path)

    assert "**twogate**" in table.read_text()
    records = json.loads(table.with_suffix(".json").read_text())["records"]
    assert [record["error"] for record in records] == [""] * 4
    echoes = [record["figures"]["rate"] for record in records if record["measure"] == "P6"]
    assert len(echoes) == 2 and min(echoes) > 100


def test_idle_sockets_are_counted_and_hear_a_message(tmp_path: Path) -> None:
    table = tmp_path / "idle.md"
    flags = ("--sockets=100", "--seconds=0.5", "--servers=twogate", f"--output={table}")
    run([sys.executable, str(FOLDER / "idle.py"), *flags], tmp_path)

    rows = [line for line in table.read_text().splitlines() if line.startswith("| twogate")]
    assert len(rows) == 2
    assert all(row.split("|")[6].strip() == "0" for row in rows)  # none was lost
