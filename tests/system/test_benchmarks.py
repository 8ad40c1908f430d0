"""The benchmark's one command runs, measures Twogate and writes its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .conftest import run

COMMAND = Path(__file__).parents[2] / "benchmarks" / "run.py"
FLAGS = ("--quick", "--seconds=0.5", "--only=P6,P12", "--servers=twogate")


def test_a_run_writes_a_table_and_the_raw_figures(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    run([sys.executable, str(COMMAND), *FLAGS, f"--output={table}"], tmp_path)

    assert "**twogate**" in table.read_text()
    records = json.loads(table.with_suffix(".json").read_text())["records"]
    assert [record["error"] for record in records] == [""] * 4
    echoes = [record["figures"]["rate"] for record in records if record["measure"] == "P6"]
    assert len(echoes) == 2 and min(echoes) > 100
