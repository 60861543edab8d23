"""The secrets of replicas: one file, a secret for each."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipper.rpc.secrets import FILE_NAME, load_secrets
from clipper_container.handshake import MIN_SECRET_BYTES


def test_each_replica_has_its_own_and_keeps_it_over_restarts(tmp_path):
    secrets = load_secrets(tmp_path)
    assert secrets.of("a") != secrets.of("b")
    assert load_secrets(tmp_path).of("a") == secrets.of("a")
    assert len(secrets.of("a")) >= MIN_SECRET_BYTES


def test_the_file_is_for_its_owner_alone_and_nothing_lies_beside_it(tmp_path):
    load_secrets(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_servers_that_start_at_once_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: load_secrets(tmp_path).of("a"), range(32)))
    assert len(found) == 1


def test_a_file_that_is_not_whole_is_said_with_what_to_do(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"half")
    with pytest.raises(ValueError, match=f"{FILE_NAME} should have 32 bytes and has 4: remove it"):
        load_secrets(tmp_path)
