"""Run channels_redis' test_core and test_pubsub against a layer: ``local``, or ``redis``.

Ends with 0 if all pass but for ``exceptions.toml`` or ``exceptions-redis.toml``; with 1 if not, or
if an exception there is not needed any more; with 2 if the tests could not be had or run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.support.redis import RedisError, redis_server
from tests.support.source_package import SourceError, source_package

VERSION = "4.3.0"
FILES = ("test_core", "test_pubsub")
#: By layer.
EXCEPTIONS = {
    "local": Path(__file__).with_name("exceptions.toml"),
    "redis": Path(__file__).with_name("exceptions-redis.toml"),
}
ROOT = Path(__file__).parents[3]
#: Seconds; they wait for messages that must not come, and for others to expire.
TIMEOUT = 180


def unpack(archive: Path, folder: Path) -> None:
    """Put their tests into the folder, without the rest.

    Raises :class:`SourceError` if they are not in the package.
    """
    wanted = {f"{name}.py" for name in FILES}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, *parts = Path(member.name).parts
            if parts[:1] == ["tests"] and parts[-1] in wanted:
                content = tar.extractfile(member)
                assert content is not None
                (folder / parts[-1]).write_bytes(content.read())
                wanted.remove(parts[-1])
    if wanted:
        raise SourceError(f"{archive} has no {', '.join(sorted(wanted))}: remove it and try again.")


def run(folder: Path, redis: str = "") -> dict[str, str]:
    """Run the tests of a folder; by test what is wrong with it, empty when it passed.

    :param redis: the address of one, for the layer over Redis; else it is the local one.
    """
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    results = folder / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", "-c"]
    command += [str(folder / "pytest.ini"), f"--junitxml={results}", str(folder)]
    command += ["-p", "tests.realtime.theirs.plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    path = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(path), "THEIRS_FOLDER": str(runtime),
        "THEIRS_REDIS": redis,
    }  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=TIMEOUT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"the tests took more than {TIMEOUT} s") from error
    if done.returncode not in (0, 1) or not results.is_file():
        raise SourceError(f"pytest ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return read(results)


def read(results: Path) -> dict[str, str]:
    """By test what is wrong with it. Where channels_redis expects to fail, we may."""
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(results).iter("testcase"):
        wrong = [part.text or "" for part in case if part.tag in ("failure", "error")]
        name = case.attrib["classname"].rpartition(".")[2] + "::" + case.attrib["name"]
        outcomes[name] = "\n".join([outcomes.get(name, ""), *wrong]).strip()
    return outcomes


def exceptions(file: Path) -> dict[str, str]:
    """The reasons, by test."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {f"{name}::{test}": why for name, table in tables.items() for test, why in table.items()}


def report(layer: str, outcomes: dict[str, str], reasons: dict[str, str]) -> bool:
    """Print what is of interest; whether all is as it must be."""
    failed = {name: text for name, text in outcomes.items() if text and name not in reasons}
    stale = [name for name in reasons if not outcomes.get(name)]
    for name, text in failed.items():
        print(f"{'=' * 70}\n{name}\n{'-' * 70}\n{text}\n")
    for name, why in reasons.items():
        print(f"known exception: {name}: {why}")
    for name in stale:
        print(f"does not fail, and must go from exceptions.toml: {name}")
    verdicts = Counter("failed" if text else "passed" for text in outcomes.values())
    print(f"channels_redis {VERSION}, its own tests on the {layer} layer: {dict(verdicts)}")
    return not failed and not stale


def main(layer: str = "local", reasons: dict[str, str] | None = None) -> int:
    """Run them, and return the exit status.

    :param reasons: of tests that may fail; ``None`` for those of the layer's file.
    """
    try:
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="theirs-"))
            redis = stack.enter_context(redis_server()) if layer == "redis" else ""
            unpack(source_package("channels_redis", VERSION), Path(name))
            outcomes = run(Path(name), redis)
    except (SourceError, RedisError) as error:
        print(error, file=sys.stderr)
        return 2
    known = exceptions(EXCEPTIONS[layer]) if reasons is None else reasons
    return 0 if report(layer, outcomes, known) else 1


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["local"], ["redis"]):
        sys.exit("usage: python -m tests.realtime.theirs [local|redis]")
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "local"))
