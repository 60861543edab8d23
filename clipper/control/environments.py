"""Environments for models with requirements of their own: each made once, used by every replica that needs it.

Layout below the root: ``<key>`` is a link to the finished ``<key>.<random>``, so that an environment is there entirely
or not at all, whenever the process dies; ``<key>.<random>/users/<generation>`` names the versions that run from it.
"""

import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from clipper.control.installing import Installation
from clipper.control.requirements import environment_key, lacking

UNUSED_FOR_S = 600.0
"""An environment that no version uses stays so long: the next version of a model often needs the same."""
_USERS = "users"

_log = logging.getLogger(__name__)

Tell = Callable[[str], None]


class _Creation:
    """An environment on its way, and who waits for it."""

    def __init__(self, installation: Installation, task: "asyncio.Task[Path]") -> None:
        self.installation = installation
        self.task = task
        self.waiting: list[Tell] = []
        # Whoever waits is told; where nobody does any longer, it ended because of that.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


class Environments:
    """The environments below ``root``, which this process alone makes and removes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._creations: dict[str, _Creation] = {}
        self._loop = asyncio.get_running_loop()

    async def python(self, lines: Sequence[str], artifact_dir: Path, generation: int, tell: Tell) -> Path:
        """The interpreter that has what the ``lines`` ask for; the server's own where that has it all.

        Several that need the same environment at a time wait for one installation. Cancelling the last of them ends
        it.

        Args:
            lines: Requirements, as pip takes them.
            artifact_dir: Where the artifact is unpacked, to which paths among the lines are relative.
            generation: Of the version that will use it, until `collect` is told otherwise.
            tell: Called in the event loop with what is being done.

        Raises:
            NotPrepared: They cannot be installed; the sentence has pip's last words.
            OSError: The disk is full, or no process can be started.
        """
        missing = await asyncio.to_thread(lacking, lines)
        if not missing:
            return Path(sys.executable)
        key = await asyncio.to_thread(environment_key, missing, artifact_dir)
        finished = self._root / key
        while not await asyncio.to_thread(_use, finished, generation):
            await self._created(key, missing, artifact_dir, tell)
        return finished.resolve() / "bin" / "python"

    async def collect(self, generations: Collection[int], unused_for_s: float = UNUSED_FOR_S) -> None:
        """Remove what none of the versions ``generations`` uses, and what was left unfinished by an earlier process."""
        await asyncio.to_thread(self._collect, frozenset(generations), frozenset(self._creations), unused_for_s)

    async def close(self) -> None:
        """End what is being installed."""
        creations = tuple(self._creations.values())
        for creation in creations:
            creation.installation.abort()
        await asyncio.gather(*(creation.task for creation in creations), return_exceptions=True)

    async def _created(self, key: str, lines: Sequence[str], artifact_dir: Path, tell: Tell) -> None:
        creation = self._creations.get(key) or self._start(key, lines, artifact_dir)
        if creation.installation.aborted:
            await asyncio.wait([creation.task])
            return
        creation.waiting.append(tell)
        try:
            await asyncio.shield(creation.task)
        finally:
            creation.waiting.remove(tell)
            if not creation.waiting:
                creation.installation.abort()

    def _start(self, key: str, lines: Sequence[str], artifact_dir: Path) -> _Creation:
        self._root.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._root))
        installation = Installation(directory, lines, artifact_dir)
        task = self._loop.create_task(asyncio.to_thread(self._make, key, directory, installation), name="environment")
        self._creations[key] = creation = _Creation(installation, task)
        task.add_done_callback(lambda _done: self._creations.pop(key))
        return creation

    def _make(self, key: str, directory: Path, installation: Installation) -> Path:
        try:
            installation.run(partial(self._tell_soon, key))
            (directory / _USERS).mkdir()
            link = directory / "link"
            link.symlink_to(directory.name)
            link.replace(self._root / key)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return directory

    def _tell_soon(self, key: str, doing: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, key, doing)

    def _tell(self, key: str, doing: str) -> None:
        creation = self._creations.get(key)
        for tell in creation.waiting if creation is not None else ():
            tell(doing)

    def _collect(self, generations: frozenset[int], being_made: frozenset[str], unused_for_s: float) -> None:
        if not self._root.is_dir():
            return
        for link in [entry for entry in self._root.iterdir() if entry.is_symlink()]:
            if not _is_used(link, generations, unused_for_s):
                link.unlink()
        used = {link.resolve() for link in self._root.iterdir() if link.is_symlink()}
        for directory in [entry for entry in self._root.iterdir() if not entry.is_symlink()]:
            if directory not in used and directory.name.partition(".")[0] not in being_made:
                _log.info("The environment %s is removed: no version uses it.", directory.name)
                shutil.rmtree(directory, ignore_errors=True)


def _use(finished: Path, generation: int) -> bool:
    """Note that the version uses the environment; False where there is none."""
    try:
        (finished / _USERS / str(generation)).touch()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_used(link: Path, generations: frozenset[int], unused_for_s: float) -> bool:
    users = link / _USERS
    try:
        latest_s = max((user.stat().st_mtime for user in users.iterdir()), default=users.stat().st_mtime)
        if time.time() - latest_s < unused_for_s:
            return True
        return any(int(user.name) in generations for user in users.iterdir())
    except OSError:
        return False
