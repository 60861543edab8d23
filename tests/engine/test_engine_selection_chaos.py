"""Whatever happens to a live application, each of its queries is answered once and on time, and nothing is left."""

import random

import pytest
from abstraction_fakes import item_error
from engine_bench import choosing

SLO_S = 0.1
MODELS = "abcd"
POLICIES = ("exp3", "exp4", "majority", "thompson", {"name": "exp3", "options": {"new_version": "restart"}}, "ab")


class Chaos:
    """Queries by the hundred, and something that happens between any two of them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.bench = choosing("exp3", MODELS, run_s=lambda size: 0.001 + 0.0005 * size)
        self.bench.selection.chance = self.random.random
        self.versions = dict.fromkeys(MODELS, 1)
        self.asked, self.cancelled, self.late = [], [], []

    def run(self, steps):
        happenings = [self.ask] * 30 + [
            self.cancel,
            self.link_others,
            self.deploy,
            self.change_version,
            self.lose_or_connect,
            self.misbehave,
            self.hang_or_go_on,
            self.learn,
            self.delete_application,
        ]
        for _ in range(steps):
            self.random.choice(happenings)()
            self.bench.timers.advance(self.random.choice((0.0, 0.0005, 0.002)))

    def ask(self):
        timeout_ms = self.random.choice((None, None, 5, 50))
        uid = self.random.choice((None, "u", "v"))
        row = b"%d" % self.random.choice((1, self.random.randrange(1 << 30)))
        arrived_s = self.bench.timers.now()
        asked = self.bench.ask(row, timeout_ms=timeout_ms, uid=uid, explain=self.random.random() < 0.2)
        given_s = min(SLO_S, (timeout_ms or 1e6) / 1e3)
        self.asked.append(asked)
        append = asked.answers.append

        def on_answer(answer):
            append(answer)
            if self.bench.timers.now() > arrived_s + given_s + 1e-9:
                self.late.append(answer)

        asked.ticket.on_answer = on_answer

    def cancel(self):
        if self.asked:
            asked = self.random.choice(self.asked)
            if not asked.answers:
                self.bench.engine.cancel(asked.ticket)
                self.cancelled.append(asked)

    def link_others(self):
        models = self.random.sample(MODELS, self.random.randint(1, len(MODELS)))
        default = {"default_output": -1, "min_confidence": 0.6} if self.random.random() < 0.5 else {}
        self.bench.application(models=tuple(models), policy=self.random.choice(POLICIES), **default)
        self.bench.apply()

    def deploy(self):
        model = self.random.choice(MODELS)
        self.versions[model] += 1
        version = str(self.versions[model])
        self.bench.version(model, version)
        self.bench.apply()
        self.bench.link(model, version).answer = lambda _row: b'"new"'

    def change_version(self):
        """Back to the first version, or away from an old one for good."""
        model = self.random.choice(MODELS)
        if self.random.random() < 0.5:
            self.bench.current[model] = "1"
        else:
            for version in [v for v in self.bench.versions[model] if v not in {"1", self.bench.current[model]}]:
                del self.bench.versions[model][version]
                self.bench.replicas = {
                    key: replica
                    for key, replica in self.bench.replicas.items()
                    if (replica.model, replica.version) != (model, version)
                }
        self.bench.apply()

    def lose_or_connect(self):
        link = self.random.choice([link for link in self.bench.links.values() if not link.closed])
        if link.ready:
            link.lose()
        else:
            link.connect()

    def misbehave(self):
        link = self.random.choice(list(self.bench.links.values()))
        says = self.random.choice((b"1", b"2", b"[1,2]", item_error("ValueError: no"), b'"%s"' % (b"x" * 400)))
        link.answer = lambda _row: says

    def hang_or_go_on(self):
        link = self.random.choice([link for link in self.bench.links.values() if not link.closed])
        if link.run_s is not None:
            link.run_s = None
        else:
            self.go_on(link)

    def go_on(self, link):
        link.run_s = self.bench.run_s
        for batch_id in list(link.waiting):
            if batch_id in link.waiting:
                link.reply(batch_id)

    def end(self):
        for link in list(self.bench.links.values()):
            self.go_on(link)
        self.bench.timers.advance(20)

    def learn(self):
        arms = {model: [self.random.random()] * self.random.randint(1, 400) for model in MODELS}
        self.bench.learn(uid=self.random.choice(("", "u")), **arms)

    def delete_application(self):
        if self.random.random() < 0.3:
            del self.bench.applications["app"]
            self.bench.apply()
            self.ask()
            self.link_others()


@pytest.mark.parametrize("seed", range(12))
def test_each_query_is_answered_once_and_on_time_and_nothing_is_left(seed):
    chaos = Chaos(seed)
    chaos.run(1500)
    chaos.end()
    for asked in chaos.asked:
        assert len(asked.answers) == (0 if asked in chaos.cancelled else 1)
    assert chaos.late == []
    chaos.bench.assert_idle()
    chaos.bench.engine.close()
    assert chaos.bench.timers.pending == 0
