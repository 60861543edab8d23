"""The smaller parts of the runtime: addresses, options, the handshake's proofs, the heartbeat, the log."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container import handshake
from clipper_container.address import TcpAddress, UnixAddress, parse_address
from clipper_container.flavors import find_flavor, flavor_names
from clipper_container.listener import Listener
from clipper_container.log import Log
from clipper_container.manifest import Manifest, version_differences
from clipper_container.options import parse_options
from clipper_container.sentences import MAX_CHARS, describe, traceback_of


@pytest.mark.parametrize("text", ["unix:/tmp/s", "tcp:localhost:0", "tcp:10.0.0.1:65535", "tcp:[::1]:80"])
def test_an_address_reads_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:relative",
        "tcp:host",
        "tcp::80",
        "tcp:h:-1",
        "tcp:h:65536",
        "tcp:h:²",
        "http://h:1",
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"An address is|at most 107 bytes"):
        parse_address(text)


@given(st.text())
def test_no_text_crashes_the_parser_of_addresses(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert isinstance(address, UnixAddress | TcpAddress)


def test_a_proof_depends_on_everything_that_it_is_over() -> None:
    proof = handshake.proof(b"secret", "dialer", "1", "2", "r")
    others = [
        handshake.proof(b"Secret", "dialer", "1", "2", "r"),
        handshake.proof(b"secret", "replica", "1", "2", "r"),
        handshake.proof(b"secret", "dialer", "3", "2", "r"),
        handshake.proof(b"secret", "dialer", "1", "3", "r"),
        handshake.proof(b"secret", "dialer", "1", "2", "s"),
        handshake.proof(None, "dialer", "1", "2", "r"),
    ]
    assert len({proof, *others}) == 7
    assert handshake.agrees(proof, handshake.proof(b"secret", "dialer", "1", "2", "r"))
    assert not any(handshake.agrees(other, proof) for other in others)


@pytest.mark.parametrize("shown", ["", "é", "00"])
def test_a_proof_of_odd_characters_only_disagrees(shown: str) -> None:
    assert not handshake.agrees(shown, "00" * 32)


def options(*arguments: str) -> list[str]:
    return ["--listen", "unix:/tmp/s", *arguments]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--listen"),
        (["--listen", "nowhere"], "An address is 'unix:/absolute/path'"),
        (options("--threads", "0"), "a whole number above 0 was expected, '0' came"),
        (options("--memory-mb", "much"), "a whole number above 0 was expected, 'much' came"),
        (options("--input-type", "doubels"), "invalid choice: 'doubels'"),
        (options("--secret-file", "/nonexistent/secret"), "cannot be read: No such file"),
        (["--listen", "tcp:example.org:80"], "give both ends a secret with --secret-file"),
        (options("--orphan-timeout-s", "nan"), "a number of seconds from 0 on was expected, 'nan' came"),
        (options("--orphan-timeout-s", "-1"), "a number of seconds from 0 on was expected, '-1' came"),
        (options("--orphan-timeout-s", "inf"), "a number of seconds from 0 on was expected, 'inf' came"),
        (["--listen", "tcp:localhost:80", "--tls-cert", "c.pem"], "--tls-cert and --tls-key go together"),
        (["--listen", "tcp:localhost:80", "--tls-ca", "c.pem"], "--tls-ca needs both"),
        (options("--tls-cert", "c.pem", "--tls-key", "k.pem"), "--tls-cert is for tcp:host:port"),
        (
            ["--listen", "tcp:localhost:80", "--tls-cert", "/nonexistent/c", "--tls-key", "/nonexistent/k"],
            "the certificate /nonexistent/c and its key /nonexistent/k cannot be used: [Errno 2] No such file",
        ),
    ],
)
def test_wrong_options_end_with_code_2_and_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_short_secret_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(SystemExit):
        parse_options(options("--secret-file", str(tmp_path / "secret")))
    assert "has 5 bytes, at least 16 are needed" in capsys.readouterr().err


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    first = Listener(address)
    with pytest.raises(OSError, match="in use"):
        Listener(address)
    first.sock.close()  # as after kill -9: the file stays
    second = Listener(address)
    second.close()
    assert not (tmp_path / "s").exists()


def test_a_socket_file_that_has_become_anothers_is_left_to_it(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    first = Listener(address)
    (tmp_path / "s").unlink()
    second = Listener(address)
    first.close()
    assert (tmp_path / "s").exists()
    second.close()


def test_a_replica_with_a_full_backlog_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(path)
        busy.listen(0)
        client.connect(path)
        with pytest.raises(OSError, match="in use"):
            Listener(UnixAddress(path))


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="in use"):
        Listener(UnixAddress(str(tmp_path / "s")))
    assert (tmp_path / "s").read_text() == "precious"


def test_port_0_is_told_as_the_port_it_became() -> None:
    listener = Listener(TcpAddress("127.0.0.1", 0))
    assert isinstance(listener.address, TcpAddress)
    assert listener.address.port == listener.sock.getsockname()[1] != 0
    listener.close()


def test_the_log_writes_one_json_object_a_line_from_its_level_on() -> None:
    read, write = os.pipe()
    log = Log(write, "info", model="m")
    log.event("debug", "hidden")
    log.event("warning", "seen", message="a\nb")
    (line,) = os.read(read, 4096).decode().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["event"], fields["model"], fields["message"]) == ("warning", "seen", "m", "a\nb")
    assert "T" in fields["time"]
    os.close(read)
    log.event("error", "nobody_reads")  # a broken pipe harms nobody
    os.close(write)


def test_exceptions_are_told_on_one_bounded_line() -> None:
    assert describe(ValueError("a\n  b")) == "ValueError: a b"
    assert describe(ValueError()) == "ValueError"
    assert len(describe(ValueError("x" * 10_000))) == MAX_CHARS


class Hostile(Exception):  # a model's own, which ends the process when it is looked at
    def __str__(self) -> str:
        raise SystemExit(3)


def test_no_exception_harms_whoever_tells_of_it() -> None:
    assert describe(Hostile()) == "Hostile: (its message cannot be shown)"
    assert traceback_of(Hostile())
    odd_name = FileNotFoundError("no file caf\udce9")
    assert describe(odd_name) == "FileNotFoundError: no file caf\\udce9"
    assert "".join(traceback_of(odd_name)).encode()


def test_a_name_that_no_package_can_have_is_not_installed() -> None:
    assert list(map(str, version_differences(Manifest(packages={"": "1"})))) == [" 1, here none"]


def test_every_flavor_has_a_load() -> None:
    assert {"noop", "python", "sklearn"} <= set(flavor_names())
    for name in flavor_names():
        if name in {"noop", "python", "sklearn"}:
            assert callable(find_flavor(name))


def test_a_name_that_is_no_flavor_is_not_imported() -> None:
    for name in ("_contract", "os", "..wire", ""):
        with pytest.raises(ValueError, match="There is no flavor"):
            find_flavor(name)


def test_sockets_are_tuned_for_batches() -> None:
    from clipper_container.sockets import tune  # noqa: PLC0415

    one, other = socket.socketpair()
    default = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    with one, other:
        tune(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= default
    with socket.socket(socket.AF_INET) as tcp:
        tune(tcp)
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
