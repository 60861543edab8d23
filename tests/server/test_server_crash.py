"""A server that is killed at random moments, again and again: what it acknowledged counts, once.

``make test-crash`` kills a hundred times; the suite, a few times.
"""

import asyncio
import logging
import os
import random
import time
from pathlib import Path

import psutil
import pytest
from crowd import Crowd
from feedback_log import assert_same, recomputed, whole_log
from server_process import WAIT_S, ServerProcess

from clipper.feedback import FeedbackRecord
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore

told = logging.getLogger(__name__)

KILLS = int(os.environ.get("CRASH_KILLS", "4"))
SECONDS_A_KILL = 30
MODELS = ["ten", "hundred", "thousand"]


def register(server: ServerProcess) -> None:
    for number, model in enumerate(MODELS, 1):
        server.cl.deploy_model(model, 1, constantly(10.0**number), input_type="doubles", wait=False)
    for model in MODELS:
        server.cl.wait_for_version(model, 1)
    policy = {"name": "exp3", "options": {"half_life_feedbacks": 200}}
    server.cl.register_application(
        "killed", input_type="doubles", slo_ms=5000, policy=policy, models=MODELS, loss="absolute", loss_range=(0, 1e5)
    )


def constantly(output):
    return lambda batch: [output for _ in batch]


def kill(server: ServerProcess, chance: random.Random) -> None:
    """All processes of the server but the replicas, one after the other, in any order."""
    main = psutil.Process(server.process.pid)
    frontends = [child for child in main.children() if "clipper.server.worker" in child.cmdline()]
    victims = [main, *frontends]
    chance.shuffle(victims)
    for victim in victims:
        time.sleep(chance.random() * 0.05)
        victim.kill()
    server.wait()
    _, alive = psutil.wait_procs(frontends, WAIT_S)
    assert not alive


async def log_and_evidence(data_dir: Path):
    store = await SqliteStore.open(data_dir)
    generation = (await store.snapshot()).desired.generations["killed"]
    await store.close()
    feedback = await SqliteFeedbackStore.open(data_dir)
    log = await whole_log(feedback, ("killed", generation))
    evidence = await feedback.evidence(list({context for record in log for context in record.contexts}))
    await feedback.close()
    return log, evidence


def check(crowd: Crowd, log: list[FeedbackRecord], evidence, chance: random.Random) -> None:
    labels = [record.label for record in log]
    assert len(labels) == len(set(labels)), "something counted twice"
    assert crowd.acknowledged <= set(labels), "something acknowledged is lost"
    assert set(labels) <= crowd.given.keys(), "something counted that was never sent"
    chance.shuffle(log)
    assert_same(evidence, recomputed(log))


@pytest.mark.timeout(60 + KILLS * SECONDS_A_KILL)
def test_feedback_counts_once_however_often_the_server_is_killed(tmp_path, caplog):
    caplog.set_level(logging.INFO, __name__)
    seed = random.randrange(1 << 30)
    told.info("seed %d", seed)
    chance = random.Random(seed)
    crowd = Crowd("killed")
    for number in range(KILLS):
        server = ServerProcess(tmp_path, CLIPPER_FRONTENDS=str(1 + number % 2))
        if number == 0:
            register(server)
        crowd.send_again(server.query, sorted(crowd.given.keys() - crowd.acknowledged))
        again = chance.sample(sorted(crowd.acknowledged), min(10, len(crowd.acknowledged)))
        assert set(crowd.send_again(server.query, again)) <= {409}
        crowd.start(server.query).acknowledged_further(chance.randrange(1, 150))
        kill(server, chance)
        crowd.join()
        log, evidence = asyncio.run(log_and_evidence(tmp_path))
        check(crowd, log, evidence, chance)
        told.info(
            "kill %d: %d counted, %d of %d acknowledged",
            number + 1,
            len(log),
            len(crowd.acknowledged),
            len(crowd.given),
        )
    server = ServerProcess(tmp_path)
    crowd.send_again(server.query, sorted(crowd.given.keys() - crowd.acknowledged))
    shown = server.cl.get_selection("killed")
    server.kill()
    assert shown["feedbacks"] == len(crowd.given)
    assert server.processes()
