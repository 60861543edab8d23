"""A reader at work: runs the blocks of a document as they are written, in a folder of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from documents import ROOT, Block

BIN = Path(sys.executable).parent
RUN = {"bash", "python", "yaml"}
SHOWN = {"text"}
BLOCK_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class Session:
    """A reader at work: an empty folder, a terminal in which servers stay up, another for everything else."""

    def __init__(self, folder: Path, *, warnings: str = "error", block_timeout_s: float = BLOCK_TIMEOUT_S) -> None:
        self.folder = folder
        self.warnings = warnings
        self.block_timeout_s = block_timeout_s
        self.log = folder / "server.log"
        self.servers: list[subprocess.Popen[str]] = []
        self.addresses: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "CLIPPER_QUERY_PORT": "0",
            "CLIPPER_ADMIN_PORT": "0",
            "CLIPPER_GRPC_PORT": "0",
        }

    def run(self, block: Block) -> None:
        if block.language == "yaml":
            self._apply(block.text)
        elif block.language == "python":
            self._execute([sys.executable, "-W", self.warnings, "-c", self._here(block.text)])
        elif re.search(r"^([A-Z_]+=\S+ )*clipper up", block.text, re.MULTILINE):
            self._start(block.text)
        else:
            text = re.sub(r"^make ", f"make -n -C {ROOT} ", block.text, flags=re.MULTILINE)
            self._execute(["bash", "-euo", "pipefail", "-c", self._here(text)])

    def stop(self) -> None:
        for server in self.servers:
            os.killpg(server.pid, signal.SIGTERM)
        for server in self.servers:
            server.communicate(timeout=STOP_TIMEOUT_S)
            assert server.returncode == 0, self.log.read_text()

    def _here(self, text: str) -> str:
        """The documents' addresses are the default ones; here they are whatever was free."""
        for written, actual in self.addresses.items():
            text = text.replace(written, actual)
        return text

    def _execute(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.block_timeout_s,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

    def _start(self, text: str) -> None:
        words = f"exec env {text}" if "=" in text.split(maxsplit=1)[0] else f"exec {text}"
        with self.log.open("a") as log:
            server = subprocess.Popen(
                ["bash", "-c", words],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.servers.append(server)
        assert server.stdout is not None
        ready = re.search(r'"query": ?"(\S+?)", ?"admin": ?"(\S+?)", ?"grpc": ?"(\S+?)"', server.stdout.readline())
        assert ready, self.log.read_text()
        self.environment["CLIPPER_URL"] = ready[2]
        self.addresses = {
            "http://127.0.0.1:1337": ready[1],
            "http://127.0.0.1:1338": ready[2],
            "127.0.0.1:1339": ready[3],
            "127.0.0.1:1337": ready[1].removeprefix("http://"),
        }

    def _apply(self, text: str) -> None:
        named = re.match(r"# (\S+\.yaml)\n", text)
        assert named, "a block of YAML starts with the name of its file"
        (self.folder / named[1]).write_text(text)
        self._execute(["clipper", "apply", "-f", named[1]])
