"""The parts of the benchmarks that can mislead: what they count, and what they say when they cannot."""

import subprocess
import sys
from pathlib import Path

import psutil

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
BURN_A_TENTH_IN_A_CHILD = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.1: pass\\nprint('burnt', flush=True)\\ninput()"
child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE)
input()
child.communicate(b"\\n")
"""


def test_the_cpu_time_of_a_tree_has_that_of_living_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN_A_TENTH_IN_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "burnt\n"
        own = psutil.Process(parent.pid).cpu_times()
        counted = subprocess.run(
            [sys.executable, "-c", f"from process_cpu import tree_cpu_s; print(tree_cpu_s({parent.pid}))"],
            cwd=BENCHMARKS,
            capture_output=True,
            text=True,
            check=True,
        )
        parent.communicate("\n")
    assert float(counted.stdout) >= own.user + own.system + 0.09


def test_without_wrk_the_benchmark_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "serving.py"], cwd=BENCHMARKS, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "apt-get install wrk" in done.stderr
    assert "Traceback" not in done.stderr
