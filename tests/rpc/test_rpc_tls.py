"""TLS over TCP: encrypted both ways, certificates checked on both ends, nobody blocked by a stranger."""

import asyncio
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rpc_harness import WAIT_S, Client, ReplicaProcess, doubles

from clipper_container.address import TcpAddress, parse_address

Start = Callable[..., ReplicaProcess]
Ready = Callable[..., Any]
Connect = Callable[..., Client]
Artifact = Callable[..., Path]


class Identity:
    """A key and the certificate that it signed itself."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run([*command, *subject, *files], check=True, capture_output=True)

    @property
    def options(self) -> list[str]:
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


@pytest.fixture(scope="module")
def replica_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("tls"), "replica")


@pytest.fixture(scope="module")
def dialer_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("tls"), "dialer")


async def test_batches_and_replies_of_every_size_come_through_encrypted(
    start: Start, ready: Ready, artifact: Artifact, replica_identity: Identity
) -> None:
    source = "def predict(inputs):\n    return [text[::-1] for text in inputs]"
    replica = start(artifact(source, input_type="strings"), *replica_identity.options, address="tcp")
    client, other = [await ready(replica, tls=replica_identity.trusted()) for _ in range(2)]
    assert client.link._connection._transport.get_extra_info("cipher") is not None
    for size in (0, 1, 16_383, 16_384, 16_385, 65_536, 5_000_000):
        text = "abcdefgh" * (size // 8) + "i" * (size % 8)
        sent = [(one, one.send([text.encode(), b"ab"])) for one in (client, other)]
        for one, batch_id in sent:
            assert (await one.reply(batch_id)).outputs == [json.dumps(text[::-1]).encode(), b'"ba"']


async def test_an_expired_row_never_runs_over_tls_either(
    start: Start, ready: Ready, replica_identity: Identity
) -> None:
    replica = start(None, *replica_identity.options, address="tcp")
    client = await ready(replica, tls=replica_identity.trusted())
    now = time.monotonic()
    good, expired = await client.ask(doubles(1), doubles(2), deadlines=[now + 30, now - 1])
    assert (good, expired.code) == (b"0", "deadline_exceeded")


async def test_a_replica_whose_certificate_is_not_trusted_is_left(
    start: Start, connect: Connect, ready: Ready, replica_identity: Identity, dialer_identity: Identity
) -> None:
    replica = start(None, *replica_identity.options, address="tcp")
    await ready(replica, tls=replica_identity.trusted())
    client = connect(replica, tls=dialer_identity.trusted())
    async with asyncio.timeout(WAIT_S):
        while client.link.problem is None:  # noqa: ASYNC110  # turns of the loop, not time: a failed dial raises no event
            await asyncio.sleep(0)
    assert "certificate verify failed" in client.link.problem
    assert client.seen.of("ready") == []


async def test_a_dialer_has_to_show_its_certificate_where_authorities_are_given(
    start: Start, connect: Connect, ready: Ready, replica_identity: Identity, dialer_identity: Identity
) -> None:
    authorities = ["--tls-ca", str(dialer_identity.certificate)]
    replica = start(None, *replica_identity.options, *authorities, address="tcp")
    known = replica_identity.trusted()
    known.load_cert_chain(dialer_identity.certificate, dialer_identity.key)
    good = await ready(replica, tls=known)
    assert await good.ask(doubles(1)) == [b"0"]
    unknown = connect(replica, tls=replica_identity.trusted())
    await unknown.seen.until("lost")
    assert unknown.seen.of("ready") == []


async def test_dialers_that_do_not_speak_tls_harm_nobody(
    start: Start, connect: Connect, ready: Ready, replica_identity: Identity
) -> None:
    replica = start(None, *replica_identity.options, address="tcp")
    client = await ready(replica, tls=replica_identity.trusted())
    address = parse_address(replica.address)
    assert isinstance(address, TcpAddress)
    with socket.create_connection(address), socket.create_connection(address) as garbled:  # one says nothing
        garbled.sendall(b"\x16\x03\x01\xff\xff" + b"\0" * 100)
        plain = connect(replica)
        await plain.seen.until("lost")
        for _ in range(5):
            assert await client.ask(doubles(1)) == [b"0"]


async def test_a_slow_reader_over_tls_gets_everything_in_the_end(
    start: Start, ready: Ready, artifact: Artifact, replica_identity: Identity
) -> None:
    source = "def predict(inputs):\n    return ['x' * 6_000_000] * len(inputs)"
    replica = start(artifact(source), *replica_identity.options, address="tcp")
    slow, other = [await ready(replica, tls=replica_identity.trusted()) for _ in range(2)]
    slow.link._connection._transport.pause_reading()
    sent = [slow.send([doubles(i)]) for i in range(4)]
    assert len((await other.ask(doubles(1)))[0]) == 6_000_002
    slow.link._connection._transport.resume_reading()
    for batch_id in sent:
        assert (await slow.reply(batch_id)).outputs == [b'"' + b"x" * 6_000_000 + b'"']
