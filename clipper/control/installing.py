"""Makes one environment: a virtual environment laid over the server's own, and pip run in it.

The server's packages, the runtime among them, are found behind the environment's own: a model that needs one more
package, or another version of one, gets that and shares the rest. They come in through a ``.pth`` file, because
``system-site-packages`` means those of the base interpreter, not those of the environment that the server runs in.
"""

import contextlib
import importlib.util
import os
import signal
import site
import subprocess
import venv
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import clipper_container
from clipper.control.manager import NotPrepared
from clipper.control.requirements import runtime_constraints
from clipper.control.runtime_command import without_settings

LAST_LINES = 20
NICENESS = 10
"""A build may take every core for minutes; queries go first."""
SENTENCE_CHARS = 600
_TOLD = ("Collecting ", "Processing ", "Downloading ", "Using cached ", "Building ", "Installing ", "Preparing ")
"""How the lines of pip's begin that say what it is doing."""


class Installation:
    """One run of pip in a new environment. `run` blocks, in a thread; `abort` may be called from another one."""

    def __init__(self, directory: Path, lines: Iterable[str], artifact_dir: Path) -> None:
        self._directory = directory
        self._lines = list(lines)
        self._artifact_dir = artifact_dir
        self._pip: subprocess.Popen[str] | None = None
        self.aborted = False

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self._directory / "bin" / "python"

    def run(self, tell: Callable[[str], None]) -> None:
        """Make the environment; ``tell`` gets what is being done, in this thread.

        Raises:
            NotPrepared: Pip failed, with its last words, or it was aborted.
            OSError: The disk is full, or no process can be started.
        """
        tell("installing requirements")
        self._create()
        self._lay_over_the_server()
        (self._directory / "requirements.txt").write_text("".join(f"{line}\n" for line in self._lines))
        (self._directory / "constraints.txt").write_text("".join(f"{line}\n" for line in runtime_constraints()))
        said, code = self._install(tell)
        if self.aborted:
            raise NotPrepared("its requirements are not installed: nobody waits for them any more")
        if code != 0:
            raise NotPrepared(_sentence(said, code), last_words="\n".join(said))

    def abort(self) -> None:
        """End pip and what it started; `run` raises."""
        self.aborted = True
        pip = self._pip
        if pip is not None and pip.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.killpg(pip.pid, signal.SIGKILL)

    def _create(self) -> None:
        """The empty environment; the server's pip will be found behind it, if there is one."""
        builder = venv.EnvBuilder(symlinks=True, with_pip=importlib.util.find_spec("pip") is None)
        try:
            builder.create(self._directory)
        except subprocess.CalledProcessError as error:
            raise NotPrepared(
                "its requirements cannot be installed: there is no pip beside the server, and Python's ensurepip "
                "cannot bring one; install pip into the server's environment"
            ) from error

    def _lay_over_the_server(self) -> None:
        folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
        # Last, for a runtime that is not installed but only found by its path.
        folders.append(str(Path(clipper_container.__file__).parents[1]))
        (purelib,) = self._directory.glob("lib/python*/site-packages")
        # addsitedir reads the .pth files there too, which a plain line would not: so come editable installations.
        lines = "".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders)
        (purelib / "_clipper_server.pth").write_text(lines)

    def _install(self, tell: Callable[[str], None]) -> tuple[deque[str], int]:
        options = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-warn-script-location")
        files = ("-r", str(self._directory / "requirements.txt"), "-c", str(self._directory / "constraints.txt"))
        said: deque[str] = deque(maxlen=LAST_LINES)
        with subprocess.Popen(  # noqa: S603  # the environment's own interpreter; whoever may deploy may run code
            [str(self.python), "-m", "pip", "install", *options, *files],
            # Paths among the lines are relative to the artifact.
            cwd=self._artifact_dir,
            env={**without_settings(dict(os.environ)), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as self._pip:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self._pip.pid, NICENESS)
            if self.aborted:  # before there was anything to end
                self.abort()
            assert self._pip.stdout is not None  # noqa: S101  # a pipe
            for line in self._pip.stdout:
                said.append(line.rstrip())
                if line.lstrip().startswith(_TOLD):
                    tell(f"installing requirements: {_shortened(line)}")
        return said, self._pip.returncode


def _shortened(line: str) -> str:
    """Without where a requirement comes from, which may be long, and may have a password in its address."""
    words = line.strip().partition(" (from")[0].split()
    return " ".join(word.rpartition("/")[2] if "://" in word or word.startswith("/") else word for word in words)[:200]


def _sentence(said: Iterable[str], code: int) -> str:
    """Pip's errors, or its last line where it marked none."""
    lines = [line for line in said if line]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    words = " ".join(errors) or (lines[-1] if lines else "")
    return f"its requirements could not be installed (pip ended with code {code}): {words}"[:SENTENCE_CHARS]
