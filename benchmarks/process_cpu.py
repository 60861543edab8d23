"""CPU time of a server's whole process tree."""

import psutil


def tree_cpu_s(root_pid: int) -> float:
    """User and system seconds that the process and all its descendants have used since they started.

    Children that ended are counted by their parent; the difference of two readings is therefore what was used between
    them, to the kernel's clock tick (10 ms).
    """
    root = psutil.Process(root_pid)
    total_s = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s
