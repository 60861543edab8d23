"""The runtime's command line."""

import argparse
import math
import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec

from clipper_container.address import LOOPBACK_HOSTS, TcpAddress, UnixAddress, parse_address
from clipper_container.handshake import MIN_SECRET_BYTES
from clipper_container.tls import server_context
from clipper_container.wire import INPUT_TYPE_CODES, TensorSpec


class Options(NamedTuple):
    """What a replica is started with; None where the artifact's manifest decides."""

    artifact: Path | None
    model: str
    version: str
    generation: int
    replica_id: str
    installation: str
    listen: UnixAddress | TcpAddress
    flavor: str | None
    input_type: str | None
    inputs: list[TensorSpec] | None
    method: str | None
    threads: int
    memory_mb: int | None
    orphan_timeout_s: float
    secret: bytes | None
    tls: ssl.SSLContext | None
    log_level: str


def parse_options(arguments: list[str]) -> Options:
    """The options in ``arguments``; ends the process with exit code 2 and a sentence where they are wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    listen: UnixAddress | TcpAddress = given.listen
    secret: bytes | None = given.secret_file
    if isinstance(listen, TcpAddress) and listen.host not in LOOPBACK_HOSTS and secret is None and not given.tls_ca:
        parser.error(
            f"--listen {listen} is reachable from other hosts: "
            "give both ends a secret with --secret-file, or certificates with --tls-cert, --tls-key and --tls-ca"
        )
    try:
        tls = _tls(listen, given.tls_cert, given.tls_key, given.tls_ca)
    except ValueError as error:
        parser.error(str(error))
    return Options(
        artifact=given.artifact,
        model=given.model,
        version=given.version,
        generation=given.generation,
        replica_id=given.replica,
        installation=given.installation,
        listen=listen,
        flavor=given.flavor,
        input_type=given.input_type,
        inputs=given.inputs,
        method=given.method,
        threads=given.threads,
        memory_mb=given.memory_mb,
        orphan_timeout_s=given.orphan_timeout_s,
        secret=secret,
        tls=tls,
        log_level=given.log_level,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "clipper_container", description="Serves one replica of one model version to Clipper."
    )
    add = parser.add_argument
    add("--listen", type=_address, required=True, help="unix:/path or tcp:host:port (port 0: any free one)")
    add("--artifact", type=Path, help="the unpacked artifact; the noop flavor needs none")
    add("--model", default="model", help="the model's name")
    add("--version", default="1", help="the version served")
    add("--generation", type=int, default=0, help="tells a version apart from an earlier one of its name")
    add("--replica", default="replica", help="this replica's id; a dialer has to know it")
    add("--installation", default="", help="whose replica this is; read from the process list on adoption")
    add("--flavor", help="default: the manifest's")
    add("--input-type", choices=sorted(INPUT_TYPE_CODES), help="default: the manifest's")
    add("--inputs", type=_tensors, help="the tensors of a query, as JSON; default: the manifest's")
    add("--method", choices=["predict", "predict_proba"], help="default: the manifest's")
    add("--threads", type=_positive, default=1, help="threads of BLAS and OpenMP")
    add("--memory-mb", type=_positive, help="bound of the process's private memory")
    add("--orphan-timeout-s", type=_seconds, default=60.0, help="ends after so long without a peer; 0: never")
    add("--secret-file", type=_secret, help=f"file with the shared secret, at least {MIN_SECRET_BYTES} bytes")
    add("--tls-cert", type=Path, help="file with the certificate to show to dialers (PEM); TCP only")
    add("--tls-key", type=Path, help="file with the certificate's key")
    add("--tls-ca", type=Path, help="file with the authorities whose certificates dialers have to show")
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    return parser


def _tls(
    listen: UnixAddress | TcpAddress, certificate: Path | None, key: Path | None, authorities: Path | None
) -> ssl.SSLContext | None:
    if certificate is None and key is None and authorities is None:
        return None
    if certificate is None or key is None:
        raise ValueError("--tls-cert and --tls-key go together; --tls-ca needs both")
    if isinstance(listen, UnixAddress):
        raise ValueError(f"--tls-cert is for tcp:host:port; {listen} never leaves this host")  # noqa: TRY004  # of a value
    return server_context(certificate, key, authorities)


def _tensors(text: str) -> list[TensorSpec]:
    try:
        return msgspec.json.decode(text, type=list[TensorSpec])
    except msgspec.MsgspecError as error:
        raise argparse.ArgumentTypeError(f"a list of tensors was expected: {error}") from error


def _address(text: str) -> UnixAddress | TcpAddress:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number above 0 was expected, {text!r} came")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 on was expected, {text!r} came")
    return seconds


def _secret(path: str) -> bytes:
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"the secret in {path} cannot be read: {error.strerror}") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise argparse.ArgumentTypeError(
            f"the secret in {path} has {len(secret)} bytes, at least {MIN_SECRET_BYTES} are needed"
        )
    return secret
