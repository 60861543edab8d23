"""``python -m clipper_container.healthcheck``: whether the runtime in this container still listens.

Read from the kernel's table, without a connection: a replica that is deep in a long batch is busy, not ill, and its log
is not to fill with strangers who ring and run. Whether a replica answers in time is for its frontends to judge.
"""

import sys
from pathlib import Path

PORT = 7000
"""Where the runtime listens in a container."""
_LISTENING = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def listens(port: int) -> bool:
    """Whether a socket of this network namespace listens on ``port``."""
    wanted = f":{port:04X}"
    for table in _TABLES:
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            if local.endswith(wanted) and state == _LISTENING:
                return True
    return False


if __name__ == "__main__":
    sys.exit(0 if listens(PORT) else 1)
