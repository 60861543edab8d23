"""An engine on virtual time, with fake replicas at the link's seam."""

from functools import partial

from abstraction_fakes import MARGIN_S, FakeLink, VirtualTimers

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.domain import Application, Desired, Model, Observed, Query, Replica, Snapshot, Version, VersionSpec
from clipper.engine import Engine
from clipper.engine.fleet import Fleet
from clipper.engine.selection import Selection
from clipper.engine.token import TokenKey
from clipper.evidence import Evidence
from clipper.rpc.contract import Hello

SECRET = b"k" * 32


class EngineBench:
    """Build the desired and the observed state with the verbs below, then ``apply``.

    ``chance`` is where the next draw falls.
    """

    def __init__(self, run_s=lambda size: 0.001, store=None, **selection):
        self.timers = VirtualTimers()
        self.run_s = run_s
        self.links = {}
        self.auto_connect = True
        self.applications, self.models, self.versions, self.replicas, self.current = {}, {}, {}, {}, {}
        self.revision = 0
        self.chance = 0.0
        self.selection = Selection(
            self.timers, store, margin_s=MARGIN_S, chance=lambda: self.chance, wall_clock=lambda: 1e9, **selection
        )
        self.selection.token_key = TokenKey(SECRET)
        self.engine = Engine(Fleet(PredictionCache(1 << 20), self._serve), self.selection)

    def _serve(self, version, metrics):
        return ServedVersion(
            version,
            cache=self.engine.cache,
            timers=self.timers,
            dial=partial(self._dial, version),
            metrics=metrics,
            margin_s=MARGIN_S,
            max_queue_length=100_000,
            slo_s=0.1,
        )

    def _dial(self, version, address, replica_id, events):
        spec = version.spec
        hello = Hello(
            version.model, spec.version, version.generation, replica_id, "noop", spec.input_type, None, [], 1, "0"
        )
        link = FakeLink(address, replica_id, events, self.timers, self.run_s, hello)
        self.links[replica_id] = link
        if self.auto_connect:
            self.timers.call_soon(link.connect)
        return link

    def application(self, name="app", models=("m",), slo_ms=100, **fields):
        self.applications[name] = Application(
            name=name, input_type="bytes", slo_ms=slo_ms, models=tuple(models), **fields
        )

    def version(self, model="m", version="1", *, replicas=1, current=True, wanted=True, generation=1, **spec):
        self.models[model] = Model(name=model, target=version)
        spec = VersionSpec(version=version, input_type="bytes", replicas=replicas, **spec)
        self.versions.setdefault(model, {})[version] = Version(
            model=model, spec=spec, generation=generation, wanted=wanted
        )
        for i in range(replicas):
            replica_id = f"{model}.{version}.g{generation}.r{i}"
            self.replicas[replica_id] = Replica(
                replica_id=replica_id,
                model=model,
                version=version,
                generation=generation,
                host_id="h",
                address=f"unix:/{replica_id}",
                state="ready",
            )
        if current:
            self.current[model] = version

    def link(self, model, version="1"):
        return self.links[f"{model}.{version}.g1.r0"]

    def answers(self, model, output):
        """What the model's replica says from now on; None: nothing, until it is told to."""
        link = self.link(model)
        link.run_s = None if output is None else self.run_s
        if output is not None:
            link.answer = lambda _row: output

    def apply(self):
        self.revision += 1
        desired = Desired(applications=self.applications, models=self.models, versions=self.versions)
        observed = Observed(current=self.current, replicas=self.replicas)
        self.engine.apply(Snapshot(revision=self.revision, desired=desired, observed=observed))
        self.timers.turn()

    def ask(self, row=b"x", application="app", **fields):
        asked = Asked()
        query = Query(application=application, row=row, arrived_s=self.timers.now(), **fields)
        asked.ticket = self.engine.submit(query, asked.answers.append)
        return asked

    def learn(self, *, uid="", application="app", **losses):
        """Put evidence: for each arm, the losses that its outputs had."""
        plays = {arm.replace("_", ":"): list(values) for arm, values in losses.items()}
        sums = {
            arm: {"eligible": len(v), "plays": len(v), "loss": sum(v), "weighted_loss": sum(v)}
            for arm, v in plays.items()
        }
        n = max(len(values) for values in plays.values())
        self.selection.put({(application, 0, uid): Evidence(n=n, sums=sums)})

    def claims(self, asked, application="app"):
        return self.selection.token_key.open(application, asked.answer.query_id)

    def metrics(self, application="app"):
        return self.engine.applications[application].metrics

    def assert_idle(self):
        assert set(self.engine.leaks().values()) == {0}, self.engine.leaks()


class Asked:
    """A query and the answers it got (one, in a good world)."""

    def __init__(self):
        self.answers = []
        self.ticket = None

    @property
    def answer(self):
        (answer,) = self.answers
        return answer


def served(**application):
    """A bench with one application and one model, ready."""
    bench = EngineBench(**{key: application.pop(key) for key in ("run_s",) if key in application})
    bench.application(**application)
    bench.version()
    bench.apply()
    return bench


def choosing(policy, models="abc", *, store=None, run_s=lambda size: 0.001, **application):
    """A bench with one application over several models, each with one replica that answers its name in JSON."""
    bench = EngineBench(run_s, store=store)
    bench.application(models=tuple(models), policy=policy, **application)
    for model in models:
        bench.version(model)
    bench.apply()
    for model in models:
        bench.answers(model, b'"%s"' % model.encode())
    return bench
