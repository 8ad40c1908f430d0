"""Birth and end of a child process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from twogate.process.channel import ChildEnd, Message, SupervisorEnd
from twogate.process.child import TRANSITIONS, Child, State, fork

from .conftest import wait_for


def live(
    main: Callable[[ChildEnd], int], closing: list[socket.socket] | None = None
) -> tuple[int, list[Message]]:
    """Fork, wait for the end: the exit status and what the child said."""
    pid, channel = fork(main, "test", closing or [])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    messages = channel.receive() or []
    channel.close()
    return status, messages


def test_the_status_is_what_main_returns() -> None:
    assert live(lambda channel: 0) == (0, [])
    assert live(lambda channel: 7) == (7, [])


def test_an_exception_never_returns_into_the_supervisors_code() -> None:
    def main(channel: ChildEnd) -> int:
        raise SystemExit(0)

    before = os.getpid()
    assert live(main) == (1, [])
    assert os.getpid() == before


def test_no_handler_of_the_parent_runs_in_the_child() -> None:
    calls = []

    def handler(number: int, frame: FrameType | None) -> None:
        calls.append((os.getpid(), number))

    def main(channel: ChildEnd) -> int:
        left = [n for n in signal.valid_signals() if signal.getsignal(n) is handler]
        os.kill(os.getpid(), signal.SIGHUP)
        channel.tell("left", len(left) + len(calls))
        channel.tell("blocked", len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        channel.tell("wakeup", signal.set_wakeup_fd(-1))
        return 0

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, handler) for number in numbers}
    wake_in, wake_out = socket.socketpair()
    wake_in.setblocking(False)
    signal.set_wakeup_fd(wake_in.fileno())
    try:
        status, messages = live(main)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.set_wakeup_fd(-1)
        for number, old in before.items():
            signal.signal(number, old)
        wake_in.close()
        wake_out.close()
    assert status == 0
    assert messages == [Message("left", 0), Message("blocked", 0), Message("wakeup", -1)]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_child_that_is_told_to_stop_in_its_first_moment_leaves_in_order(number: int) -> None:
    def main(channel: ChildEnd) -> int:
        signal.pause()
        return 1

    pid, channel = fork(main, "test", [])
    os.kill(pid, number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    channel.close()
    assert status == 0


def test_the_child_keeps_nothing_that_is_the_supervisors() -> None:
    private, other = socket.socketpair()
    try:
        status, _ = live(lambda channel: 0 if private.fileno() == -1 else 1, [private])
        assert status == 0
        assert private.fileno() != -1
    finally:
        private.close()
        other.close()


def test_exit_functions_run_and_threads_finish(tmp_path: Path) -> None:
    # A process of its own: the test runner has exit functions and threads, too.
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, os, threading, time\n"
        "from twogate.process.child import fork\n"
        "def main(channel):\n"
        "    atexit.register(print, 'flushed')\n"
        "    def work():\n"
        "        time.sleep(0.2)\n"
        "        print('worked')\n"
        "    threading.Thread(target=work).start()\n"
        "    return 0\n"
        "pid, channel = fork(main, 'test', [])\n"
        "print(os.waitpid(pid, 0)[1])\n"
    )
    output = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=True,
    )
    assert output.stdout == "worked\nflushed\n0\n"
    assert output.stderr == ""


def test_states_follow_the_table() -> None:
    child = Child(0, SupervisorEnd(socket.socket()), None)
    child.become(State.SERVING)
    with pytest.raises(AssertionError, match="serving> cannot become starting"):
        child.become(State.STARTING)
    child.become(State.STOPPING, 5.0)
    assert child.deadline == 5.0
    child.become(State.KILLED)
    assert child.deadline is None
    child.channel.close()


def test_a_signal_to_a_dead_child_is_no_error() -> None:
    pid, channel = fork(lambda channel: 0, "test", [])
    child = Child(pid, channel, None)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0])
    child.signal(signal.SIGTERM)
    channel.close()


def test_the_design_note_draws_the_same_states() -> None:
    note = Path(__file__).parents[2] / "docs" / "design" / "0005-processes.md"
    drawn: dict[str, set[str]] = {}
    state = ""
    _, _, rest = note.read_text().partition("| state | meaning | may become | when |\n")
    for row in rest.partition("\n\n")[0].splitlines()[1:]:
        first, _, following, _ = (cell.strip() for cell in row.strip("|").split("|"))
        state = first or state
        drawn.setdefault(state, set()).update([following] if following else [])
    assert drawn == {
        state.value: {following.value for following in allowed}
        for state, allowed in TRANSITIONS.items()
    }
