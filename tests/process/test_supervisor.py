"""The supervisor, proven by faults: real processes, real signals."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import time
from collections.abc import Callable

import pytest

from twogate.process.child import TRANSITIONS, State

from .conftest import Load, Project, Site, StartSite, children, is_alive, wait_for

BROKEN = {
    "a syntax error": ("def load(config:\n", "SyntaxError"),
    "a name error": ("application = get_wsgi_application()\n", "NameError"),
    "an exit": ("import sys; sys.exit('no database')\n", "no database"),
    "a crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
}


class TestCrashes:
    def test_a_worker_that_ends_is_replaced(self, start: StartSite) -> None:
        site = start(workers=2)
        before = site.all_ready(2)
        with pytest.raises((OSError, http.client.HTTPException)):
            site.get("/crash")
        line = site.said("ended with status 3 with")
        assert re.search(r"worker [12] \(pid \d+\)", line)
        after = site.workers(2)
        assert len(after - before) == 1
        assert site.version() == "one"
        assert "Z" not in children(site.process.pid).values()

    def test_kill_9_under_load_loses_only_what_was_in_flight(self, start: StartSite) -> None:
        site = start(workers=2)
        site.all_ready(2)
        with Load(site, clients=4) as load:
            load.more(40)
            victim = int(load.answers[-1].split()[1])
            os.kill(victim, signal.SIGKILL)
            site.said(f"(pid {victim}) was killed by SIGKILL")
            wait_for(lambda: len(site.workers(2) - {victim}) == 2)
            load.more(20)
            lost = len(load.errors)
            load.more(100)
        assert lost <= 4  # one per client
        assert len(load.errors) == lost

    def test_the_second_victim_is_replaced_as_well(self, start: StartSite) -> None:
        site = start(workers=1)
        for _ in range(2):
            pid = site.pid()
            os.kill(pid, signal.SIGKILL)
            site.said(f"(pid {pid}) was killed")
            site.workers(1)
        assert site.version() == "one"

    def test_workers_that_die_young_are_not_forked_in_a_busy_loop(self, start: StartSite) -> None:
        site = start(workers=1)
        for births, pause in [(1, ""), (2, " in 1 s"), (3, " in 2 s")]:
            # Not by a clock of its own: it must have been ready, and a slow machine is late.
            wait_for(_has_said(site, " is ready", births))
            with pytest.raises((OSError, http.client.HTTPException)):
                site.get("/crash")
            site.said(f"another starts{pause}")
        assert site.log.count("worker 1 starts as process") == 3

    def test_workers_ignore_what_a_terminal_or_pkill_sends_to_all(self, start: StartSite) -> None:
        site = start(workers=1)
        pid = site.pid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTTIN):
            os.kill(pid, number)
        assert site.get("/slow/0.2").split()[1] == str(pid)
        assert "was killed" not in site.log


class TestHung:
    def test_a_stopped_worker_is_replaced(self, start: StartSite) -> None:
        site = start(workers=2, timeout=1)
        site.all_ready(2)
        victim = site.pid()
        os.kill(victim, signal.SIGSTOP)
        site.said(f"(pid {victim}) was silent for")
        site.said(f"(pid {victim}) was killed by SIGKILL")
        assert victim not in site.workers(2)
        assert site.version() == "one"

    def test_a_blocked_loop_shows_its_stacks_and_is_replaced(self, start: StartSite) -> None:
        site = start(workers=1, timeout=1)
        victim = site.pid()
        site.begin("/block").close()
        site.said(f"(pid {victim}) was killed by SIGABRT")
        assert re.search(r'project.py", line \d+ in asgi', site.log)
        assert site.pid() != victim

    def test_a_long_request_is_no_hang(self, start: StartSite) -> None:
        site = start(workers=1, timeout=0.5)
        pid = site.pid()
        assert site.get("/slow/1.5").split()[1] == str(pid)
        assert "silent" not in site.log

    def test_a_supervisor_that_was_stopped_blames_nobody(self, start: StartSite) -> None:
        site = start(workers=1, timeout=1)
        pid = site.pid()
        for process in (site.process.pid, pid):
            os.kill(process, signal.SIGSTOP)
        time.sleep(1.5)  # the time for which everything stands still is what is tested
        for process in (site.process.pid, pid):
            os.kill(process, signal.SIGCONT)
        assert site.get("/slow/1").split()[1] == str(pid)
        assert "silent" not in site.log


class TestReload:
    @pytest.mark.parametrize("keep_alive", [False, True])
    @pytest.mark.parametrize("path", ["/", "/slow/0.01", "/wsgi/page"])
    def test_under_load_loses_no_request(
        self, project: Project, start: StartSite, path: str, keep_alive: bool
    ) -> None:
        site = start(workers=2)
        before = site.all_ready(2)
        with Load(site, path=path, keep_alive=keep_alive) as load:
            load.more(20)
            project.write("second")
            site.signal(signal.SIGHUP)
            site.said("reloaded: 2 worker(s)")
            load.more(50)
            wait_for(lambda: not before & site.workers(2))
            load.more(20)
        assert load.errors == []
        assert load.answers[-1].startswith("second ")
        versions = [answer.split()[0] for answer in load.answers]
        assert {"one", "second"} == set(versions)
        site.said("version second")

    @pytest.mark.parametrize("fault", BROKEN)
    def test_code_that_does_not_load_changes_nothing(
        self, project: Project, start: StartSite, fault: str
    ) -> None:
        code, reason = BROKEN[fault]
        site = start(workers=2)
        before = site.all_ready(2)
        with Load(site, clients=2) as load:
            project.save(code)
            site.signal(signal.SIGHUP)
            line = site.said("the old workers go on serving")
            load.more(20)
        assert load.errors == []
        assert reason in line or reason in site.log
        assert line.startswith("ERROR")
        assert site.workers(2) == before

        project.write("mended")
        site.signal(signal.SIGHUP)
        site.said("reloaded: 2 worker(s)")
        assert not before & set(children(site.process.pid))
        assert site.version() == "mended"

    def test_code_that_never_gets_ready_stops_the_roll(
        self, project: Project, start: StartSite
    ) -> None:
        site = start(workers=1, start_timeout=1.5, timeout=1)
        before = site.pid()
        project.write("slow", "\ntime.sleep(60)\n")
        site.signal(signal.SIGHUP)
        line = site.said("the old workers go on serving")
        assert "was not loaded within 1.5 s" in line
        assert site.pid() == before

    def test_asking_twice_more_reloads_once_more(self, project: Project, start: StartSite) -> None:
        site = start(workers=1)
        site.said("serves")
        project.write("slow", "\ntime.sleep(1)\n")
        site.signal(signal.SIGHUP)
        site.said("replacing 1 worker")
        for count in (1, 2):
            site.signal(signal.SIGHUP)
            wait_for(lambda: "another one follows" in site.log, what=str(count))
        project.write("third")
        wait_for(lambda: site.log.count("reloaded:") == 2, what="two reloads")
        assert site.version() == "third"
        assert site.log.count("another one follows") == 1
        assert site.log.count("replacing 1 worker") == 2

    def test_never_more_than_one_worker_too_many(self, start: StartSite) -> None:
        site = start(workers=3)
        site.all_ready(3)
        site.signal(signal.SIGHUP)
        most = 0
        while "reloaded:" not in site.log:
            most = max(most, len(children(site.process.pid)))
        assert most == 4


class TestMaxRequests:
    def test_hands_over_without_a_failed_request(self, start: StartSite) -> None:
        site = start(workers=2, max_requests=40, max_requests_jitter=20)
        with Load(site) as load:
            # The two of the start and three successors.
            wait_for(lambda: site.log.count(" is ready") >= 5, timeout=60, what="three successions")
            load.more(20)
        assert load.errors == []
        assert len({answer.split()[1] for answer in load.answers}) >= 4
        site.workers(2)

    def test_a_successor_that_does_not_load_leaves_the_old_one_serving(
        self, project: Project, start: StartSite
    ) -> None:
        site = start(workers=1, max_requests=5)
        old = site.pid()
        project.save("broken(")
        for _ in range(5):
            site.get()
        site.said("worker 1 did not start")
        site.said("next try in 1 s")
        assert site.pid() == old


class TestEnd:
    def test_term_lets_requests_finish(self, start: StartSite) -> None:
        site = start(workers=2)
        site.all_ready(2)
        sock = site.begin("/slow/1")
        site.signal(signal.SIGTERM)
        host, port = sock.getpeername()
        wait_for(lambda: _is_refused(host, port), what="the end of listening")
        with sock, sock.makefile("rb") as stream:
            assert b"\r\n\r\none " in stream.read()
        assert site.ended() == 0
        assert "killed" not in site.log

    @pytest.mark.parametrize("workers", [0, 2])
    def test_term_under_load_refuses_or_answers(self, start: StartSite, workers: int) -> None:
        site = start(workers=workers)
        site.said(" serves ")
        with Load(site, clients=8, path="/") as load:
            load.more(100)
            site.signal(signal.SIGTERM)
            assert site.ended() == 0
        lost = [error for error in load.errors if not isinstance(error, ConnectionRefusedError)]
        # Between the last look at the kernel's queue and the end of listening there are some
        # microseconds; without that look, half of the clients are reset.
        assert len(lost) <= 2, lost

    @pytest.mark.parametrize("path", ["/stuck", "/wsgi/stuck"])
    @pytest.mark.parametrize("workers", [0, 1])
    def test_term_is_bounded_by_the_graceful_timeout(
        self, start: StartSite, path: str, workers: int
    ) -> None:
        site = start(workers=workers, graceful_timeout=0.5)
        pid = site.pid()
        with site.begin(path):
            began = time.monotonic()
            site.signal(signal.SIGTERM)
            assert site.ended() == 0
        assert 0.5 <= time.monotonic() - began < 5
        assert not is_alive(pid)

    def test_a_blocked_worker_is_killed_after_the_graceful_timeout(self, start: StartSite) -> None:
        site = start(workers=1, graceful_timeout=0.5)
        pid = site.pid()
        with site.begin("/block"):
            site.signal(signal.SIGTERM)
            assert site.ended() == 0
        assert not is_alive(pid)

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
    def test_quick_ends(self, start: StartSite, workers: int, number: int) -> None:
        site = start(workers=workers)
        pid = site.pid()
        with site.begin("/stuck"):
            began = time.monotonic()
            site.signal(number)
            if workers == 0 and number == signal.SIGINT:
                site.said("stopping;")
                site.signal(number)  # without a supervisor the second one is the quick one
            assert site.ended() == 0
        assert time.monotonic() - began < 5
        assert not is_alive(pid)

    def test_no_worker_outlives_a_supervisor_that_is_killed(self, start: StartSite) -> None:
        site = start(workers=2, graceful_timeout=1)
        workers = site.all_ready(2)
        with site.begin("/block"):
            site.process.kill()
            wait_for(lambda: not any(map(is_alive, workers)), what="the end of the workers")

    def test_requests_finish_when_the_supervisor_is_killed(self, start: StartSite) -> None:
        site = start(workers=1)
        pid = site.pid()
        with site.begin("/slow/0.5") as sock, sock.makefile("rb") as stream:
            site.process.kill()
            assert stream.read().endswith(f"one {pid}".encode())
        wait_for(lambda: not is_alive(pid))


class TestCount:
    def test_ttin_and_ttou(self, start: StartSite) -> None:
        site = start(workers=1)
        site.all_ready(1)
        site.signal(signal.SIGTTIN)
        site.workers(2)
        site.signal(signal.SIGTTOU)
        site.workers(1)
        site.signal(signal.SIGTTOU)
        site.said("one worker is the least")
        site.signal(signal.SIGTTIN)
        site.workers(2)
        assert site.log.count("one worker less") == 1
        assert site.version() == "one"

    def test_fewer_under_load_loses_no_request(self, start: StartSite) -> None:
        site = start(workers=3)
        site.all_ready(3)
        with Load(site) as load:
            load.more(20)
            site.signal(signal.SIGTTOU)
            site.workers(2)
            load.more(20)
        assert load.errors == []

    def test_sigusr1_does_nothing(self, start: StartSite) -> None:
        site = start(workers=1)
        pid = site.pid()
        site.signal(signal.SIGUSR1)
        assert site.pid() == pid


class TestStart:
    @pytest.mark.parametrize("fault", BROKEN)
    def test_a_project_that_does_not_load_is_told_once(
        self, project: Project, start: StartSite, fault: str
    ) -> None:
        code, reason = BROKEN[fault]
        project.save(code)
        site = start(workers=3, level="INFO")
        assert site.ended() == 1
        assert site.log.count("ERROR ") == 1
        assert reason in site.log
        assert "Traceback" not in site.log

    def test_without_a_supervisor_as_well(self, project: Project, start: StartSite) -> None:
        project.save("get_asgi_application()\n")
        site = start(workers=0, level="INFO")
        assert site.ended() == 1
        assert 'project.py", line 1' in site.log
        assert site.log.count("NameError") == 1

    def test_a_port_in_use(self, start: StartSite) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            site = start(bind=[f"127.0.0.1:{port}"])
            assert site.ended() == 2
        assert f"port {port} is already in use" in site.log
        assert len(site.lines) == 1

    def test_says_once_what_is_served(self, start: StartSite) -> None:
        site = start(workers=2)
        site.workers(2)
        wait_for(lambda: site.log.count("is ready") == 2)
        assert "with 2 workers" in site.said("serves")
        assert site.log.count("version one") == 1

    def test_several_binds(self, start: StartSite, project: Project) -> None:
        path = project.folder / "site.sock"
        site = start(bind=["127.0.0.1:0", f"unix:{path}"])
        line = site.said("serves")
        assert site.version() == "one"
        assert f"unix:{path}" in line
        assert site.get(address=f"unix:{path}").startswith("one ")
        site.signal(signal.SIGTERM)
        assert site.ended() == 0
        assert not path.exists()

    def test_an_inherited_socket(self, start: StartSite) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            number = inherited.fileno()
            site = start(bind=[f"fd://{number}"], popen={"pass_fds": [number]})
            assert site.version() == "one"

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_socket_file_outlives_a_kill_and_is_replaced(
        self, start: StartSite, project: Project, workers: int
    ) -> None:
        path = project.folder / "site.sock"
        first = start(bind=[f"unix:{path}"], workers=workers)
        pid = first.pid()
        refused = start(bind=[f"unix:{path}"], workers=workers)
        assert refused.ended() == 2
        assert "already listens" in refused.log
        first.process.kill()
        first.ended()
        wait_for(lambda: not is_alive(pid))
        assert path.exists()
        second = start(bind=[f"unix:{path}"], workers=workers)
        assert second.version() == "one"
        second.signal(signal.SIGTERM)
        assert second.ended() == 0
        assert not path.exists()


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.STARTING}.union(*TRANSITIONS.values())
    assert reached == set(State) == set(TRANSITIONS)


def _is_refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def _has_said(site: Site, text: str, count: int) -> Callable[[], bool]:
    return lambda: site.log.count(text) == count
