import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import clipper

HOLDER = """
import os, sys, clipper
with clipper.local() as cl:
    cl.deploy_model("m", 1, None, flavor="noop", input_type="doubles")
    print(*(r["pid"] for r in cl.get_all_model_replicas()), flush=True)
    sys.stdin.read()
"""


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_a_local_server_is_gone_after_its_program_was_killed():
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip()
        family = psutil.Process(holder.pid).children(recursive=True)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_a_local_server_is_gone_after_its_block_and_so_is_its_data():
    before = descendants()
    with clipper.local() as cl:
        cl.deploy_model("m", 1, None, flavor="noop", input_type="doubles")
        family = descendants() - before
        assert len(family) >= 2
        files = {Path(file.path) for process in family for file in process.open_files()}
        state = [path for path in files if path.suffix == ".db" or path.name.endswith(("-wal", ".sqlite"))]
        assert state
    assert not any(process.is_running() for process in family)
    assert not any(path.parent.exists() for path in state)


def test_two_local_servers_do_not_share_anything(cl):
    cl.register_application("unshared", input_type="doubles", slo_ms=20)
    with clipper.local() as other:
        assert other.get_all_apps() == []


def test_settings_reach_the_server():
    token = "right"
    with clipper.local(admin_token=token) as cl, clipper.connect(cl.session.admin_url, "wrong") as stranger:
        assert cl.get_all_apps() == []
        with pytest.raises(clipper.Forbidden):
            stranger.get_all_apps()


def test_a_server_that_does_not_start_says_what_it_logged():
    with pytest.raises(clipper.Unreachable, match="log_level"), clipper.local(log_level="loud"):
        pass
