"""What a model can do from inside its container: as good as nothing."""

import socket
import sys

import cloudpickle
import pytest

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

TOKEN = "a-token-for-one-test-only"


def probe(batch):
    """Run in the container: each row is the name of a probe and its arguments, each output what came of it."""
    import os  # noqa: PLC0415  # travels with the function
    import socket  # noqa: PLC0415  # as above
    from pathlib import Path  # noqa: PLC0415  # as above

    def write(path):
        Path(path).write_text("x")
        return "written"

    def connect(host, port):
        with socket.create_connection((host, port), timeout=1):
            return "connected"

    def status(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(line.split(":", 1)[1].split() for line in lines if line.startswith(f"{name}:"))

    def talk(host, port):
        with socket.create_connection((host, port), timeout=2) as sock:
            sock.sendall(b"GET /admin/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return sock.recv(100).decode() or "closed"

    probes = {
        "talk": talk,
        "ids": lambda: [*os.getresuid(), *os.getresgid(), *os.getgroups()],
        "write": write,
        "connect": connect,
        "status": status,
        "exists": os.path.exists,
        "environment": lambda: dict(os.environ),
        "arguments": lambda: Path("/proc/1/cmdline").read_text().split("\0"),
        "setuid": lambda: os.setuid(0),
        "writable": lambda path: os.access(path, os.W_OK),
    }

    def outcome(name, *arguments):
        try:
            return probes[name](*arguments)
        except OSError as error:
            return type(error).__name__

    return [outcome(*row) for row in batch]


@pytest.fixture
def ask(up):
    """Asks a probing model on a server whose admin port listens on every address."""
    server = up(CLIPPER_ADMIN_HOST="0.0.0.0", CLIPPER_ADMIN_TOKEN=TOKEN)
    server.connect(TOKEN)
    server.cl.deploy_model("model", 1, probe, input_type="json", num_replicas=2, caching={"enabled": False})
    server.until_ready(2)
    server.cl.register_application("app", input_type="json", slo_ms=30_000, models=["model"])

    def ask(*probe):
        return server.cl.predict("app", list(probe)).output

    ask.server = server
    return ask


def network_address():
    """An address of this host that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # no packet is sent
        except OSError:
            return "127.0.0.1"
        return sock.getsockname()[0]


def test_it_is_not_root_and_cannot_become_it(ask):
    assert set(ask("ids")) == {10_001}
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(ask("status", kind)[0], 16) == 0, kind
    assert ask("status", "NoNewPrivs") == ["1"]
    assert int(ask("status", "Seccomp")[0]) == 2
    assert ask("setuid") == "PermissionError"


@pytest.mark.parametrize(
    "path", ["/x", "/clipper/venv/x", "/artifact/model/x", "/artifact/x", "/run/clipper/x", "/run/clipper/secret"]
)
def test_it_cannot_write_its_root_nor_its_model_nor_its_secret(ask, path):
    assert ask("write", path) in {"OSError", "PermissionError"}
    assert ask("write", "/tmp/x") == "written"  # noqa: S108  # the container's own


def test_it_reaches_neither_the_admin_port_nor_the_store_nor_anything_outside(ask):
    server = ask.server
    (network,) = server.engine.networks.list(filters={"label": f"clipper.installation={server.installation_id}"})
    network.reload()
    assert network.attrs["Internal"] is True
    gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
    port = int(server.admin.rpartition(":")[2])
    with socket.create_connection((network_address(), port), timeout=1):
        pass  # from here it is reached
    for address in (gateway, network_address()):
        assert ask("talk", address, port) in {"ConnectionResetError", "closed"}, address
    assert ask("connect", "127.0.0.1", port) == "ConnectionRefusedError"
    assert ask("connect", "192.0.2.1", 80) in {"OSError", "TimeoutError"}
    assert ask("exists", str(server.data_dir / "clipper.db")) is False
    assert ask("exists", "/var/run/docker.sock") is False


def test_it_cannot_reach_the_other_replicas(ask):
    addresses = [replica["address"].split(":")[1] for replica in ask.server.replicas("model").values()]
    outcomes = [ask("connect", address, 7000) for address in addresses for _ in range(4)]
    # Each replica reaches itself; asked often enough, both have tried both.
    assert set(outcomes) == {"connected", "TimeoutError"}


def test_the_secret_is_neither_in_its_environment_nor_in_its_arguments_nor_in_what_the_engine_shows(ask):
    server = ask.server
    from clipper.rpc.secrets import load_secrets  # noqa: PLC0415  # only this test looks inside

    secrets = [load_secrets(server.data_dir).of(replica_id).decode() for replica_id in server.replicas("model")]
    shown = [str(ask("environment")), str(ask("arguments"))]
    shown += [str(container.attrs) for container in server.containers().values()]
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []
    assert not [name for name in ask("environment") if name.startswith("CLIPPER")]
