import json
import os
import signal
import subprocess
import sys

import grpc
import httpx
import pytest

import clipper


@pytest.fixture
def up(tmp_path):
    """Start the real command; whatever is left is killed."""
    started = []

    def command(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPPER_")}
        ports = ("--query-port", "0", "--admin-port", "0", "--grpc-port", "0")
        process = subprocess.Popen(
            [sys.executable, "-m", "clipper", "up", *ports, *arguments],
            env=kept | environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_ready_line_and_a_graceful_end(up):
    process = up()
    addresses = json.loads(process.stdout.readline())
    assert set(addresses) == {"query", "admin", "grpc"}
    with grpc.insecure_channel(addresses["grpc"]) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
    assert httpx.get(f"{addresses['query']}/v2/health/ready").status_code == 200
    with clipper.connect(addresses["admin"]) as cl:
        assert cl.get_status()["query"] == addresses["query"]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, b"")


def test_what_was_configured_is_there_after_a_restart(up, tmp_path):
    for attempt in range(2):
        process = up("--data-dir", "data")
        addresses = json.loads(process.stdout.readline())
        with clipper.connect(addresses["admin"]) as cl:
            if attempt == 0:
                cl.register_application("kept", input_type="doubles", slo_ms=20)
            assert cl.get_all_apps() == ["kept"]
        process.kill()
        process.wait()


def test_flags_come_before_the_environment_and_that_before_the_file(up, tmp_path):
    (tmp_path / "settings.yaml").write_text("shutdown_grace_s: 1\nlog_level: error\ndata_dir: from-file\n")
    process = up("--config", "settings.yaml", "--data-dir", "from-flag", CLIPPER_DATA_DIR="from-environment")
    json.loads(process.stdout.readline())
    assert (tmp_path / "from-flag").is_dir()
    assert not (tmp_path / "from-environment").exists()
    assert not (tmp_path / "from-file").exists()


def test_what_another_server_has_is_a_sentence(up):
    first = up("--data-dir", "one")
    port = json.loads(first.stdout.readline())["admin"].rpartition(":")[2]
    taken_port, taken_directory = up("--data-dir", "two", "--admin-port", port), up("--data-dir", "one")
    for second, sentence in (
        (taken_port, f"address already in use: 127.0.0.1 port {port}. Choose another"),
        (
            taken_directory,
            f"is used by the server with pid {first.pid}. Stop that server, or choose another --data-dir.",
        ),
    ):
        _, log = second.communicate(timeout=30)
        assert second.returncode == 1
        assert sentence in log.decode()
        assert b"Traceback" not in log
