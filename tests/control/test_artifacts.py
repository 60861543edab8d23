"""Artifacts: content-addressed, all or nothing, and never outside of their directory."""

import asyncio
import errno
import hashlib
import io
import json
import tarfile

import pytest

from clipper.control.artifacts import ArtifactStore
from clipper.errors import InvalidRequest, StoreUnavailable, TooLarge, UnknownArtifact

MANIFEST = {"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict", "input_width": 4}
LIMIT = 1 << 20


def a_tar(members=None, manifest=MANIFEST):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = {} if manifest is None else {"manifest.json": json.dumps(manifest).encode()}
        for name, content in (files | (members or {})).items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def stream(data, chunk=1000):
    for start in range(0, len(data), chunk):
        yield data[start : start + chunk]


@pytest.fixture
def store(tmp_path):
    made = ArtifactStore(tmp_path / "artifacts")
    yield made
    assert not list((tmp_path / "artifacts").glob("incoming-*")), "nothing half-received is left"


async def test_an_artifact_is_found_under_the_digest_of_its_tar(store):
    tar = a_tar({"model.py": b"code", "deep/er/file": b"x"})
    artifact = await store.put(stream(tar), LIMIT)
    assert artifact.digest == hashlib.sha256(tar).hexdigest()
    assert artifact.size == len(tar)
    assert (artifact.manifest["flavor"], artifact.manifest["input_width"]) == ("python", 4)
    assert store.tar_path(artifact.digest).read_bytes() == tar
    assert (store.path(artifact.digest) / "deep/er/file").read_bytes() == b"x"


async def test_the_same_bytes_twice_are_one_artifact(store):
    tar = a_tar()
    both = await asyncio.gather(store.put(stream(tar), LIMIT), store.put(stream(tar), LIMIT))
    assert both[0] == both[1]


async def test_a_restarted_store_has_it_still_and_drops_what_was_half_received(store, tmp_path):
    artifact = await store.put(stream(a_tar()), LIMIT)
    (tmp_path / "artifacts" / "incoming-x").mkdir()
    assert ArtifactStore(tmp_path / "artifacts").path(artifact.digest).is_dir()


async def test_a_tar_over_the_limit_is_refused_before_it_is_read_to_its_end(store):
    asked = []

    async def endless():
        while True:
            asked.append(1)
            yield bytes(100_000)

    with pytest.raises(TooLarge, match=f"larger than the {LIMIT} bytes"):
        await store.put(endless(), LIMIT)
    assert len(asked) == 11


async def test_content_that_outgrows_the_limit_is_refused(store):
    bomb = tarfile.TarInfo("bomb")
    bomb.size = 5 * LIMIT
    with pytest.raises(TooLarge, match="unpacks to more"):
        await store.put(stream(a_tar({"bomb": bomb})), LIMIT)


async def test_too_many_members_are_refused(store, monkeypatch):
    monkeypatch.setattr("clipper.control.artifacts.MAX_MEMBERS", 3)
    with pytest.raises(TooLarge, match="more than the 3 members"):
        await store.put(stream(a_tar({f"f{i}": b"" for i in range(3)})), LIMIT)


def special(kind, target=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"../outside": b"x"}, "'../outside' would reach outside"),
        ({"link": special(tarfile.SYMTYPE, "/etc/passwd")}, "'link' is neither a file nor a directory"),
        ({"link": special(tarfile.LNKTYPE, "manifest.json")}, "neither a file nor a directory"),
        ({"pipe": special(tarfile.FIFOTYPE)}, "neither a file nor a directory"),
        ({"device": special(tarfile.CHRTYPE)}, "neither a file nor a directory"),
        ({"a": b"x", "a/b": b"x"}, "cannot be unpacked"),
    ],
)
async def test_members_that_could_do_harm_are_refused(store, members, sentence, tmp_path):
    with pytest.raises(InvalidRequest, match=sentence):
        await store.put(stream(a_tar(members)), LIMIT)
    assert not (tmp_path / "outside").exists()


async def test_an_absolute_member_lands_inside(store, tmp_path):
    artifact = await store.put(stream(a_tar({f"{tmp_path}/escaped": b"x"})), LIMIT)
    assert not (tmp_path / "escaped").exists()
    assert (store.path(artifact.digest) / str(tmp_path).lstrip("/") / "escaped").is_file()


@pytest.mark.parametrize(
    ("tar", "sentence"),
    [
        (b"", "must be an uncompressed tar"),
        (b"PK\x03\x04 a zip file" * 100, "must be an uncompressed tar"),
        (a_tar({"manifest.json": b"x" * 5000})[:2000], "unexpected end of data"),
        (a_tar({"model.py": b""}, manifest=None), "no manifest.json at its top"),
        (a_tar({"manifest.json": b"{"}, manifest=None), "must be JSON"),
        (
            a_tar(manifest={**MANIFEST, "input_type": "images"}),
            r"'input_type' of manifest.json of the artifact must be",
        ),
        (a_tar(manifest={**MANIFEST, "format": 2}), "'format'"),
        (a_tar(manifest={**MANIFEST, "entry": "../../evil.pkl"}), "names a file inside the artifact"),
        (a_tar(manifest=[]), r"json of the artifact must be a JSON object"),
    ],
)
async def test_what_is_no_artifact_is_refused_with_a_sentence(store, tar, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        await store.put(stream(tar), LIMIT)


async def test_a_stream_that_breaks_leaves_nothing(store):
    async def breaking():
        yield a_tar()[:500]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.put(breaking(), LIMIT)


async def test_a_cancelled_upload_leaves_nothing(store):
    started, never = asyncio.Event(), asyncio.Event()

    async def stalling():
        yield a_tar()[:500]
        started.set()
        await never.wait()

    upload = asyncio.ensure_future(store.put(stalling(), LIMIT))
    await started.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc", "", "noop-doubles"])
def test_an_unknown_digest_is_named(store, digest):
    with pytest.raises(UnknownArtifact):
        store.path(digest)


async def test_collecting_spares_what_is_referenced_and_what_just_came(store):
    used, unused = [await store.put(stream(a_tar({"f": content})), LIMIT) for content in (b"1", b"2")]
    assert await store.collect({used.digest}) == []
    assert await store.collect({used.digest}, unreferenced_for_s=0) == [unused.digest]
    assert store.path(used.digest).is_dir()
    with pytest.raises(UnknownArtifact):
        store.path(unused.digest)


def test_noop_has_a_directory_with_a_manifest_that_is_never_collected(store):
    content = store.noop_path("strings")
    assert json.loads((content / "manifest.json").read_text())["input_type"] == "strings"
    assert asyncio.run(store.collect(set(), unreferenced_for_s=0)) == []


async def test_a_full_disk_is_not_the_user_s_fault(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("clipper.control.artifacts.unpack", full)
    with pytest.raises(StoreUnavailable, match="cannot be kept: No space left on device"):
        await store.put(stream(a_tar()), LIMIT)
