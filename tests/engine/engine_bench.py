"""An engine on virtual time, with fake replicas at the link's seam."""

from functools import partial

from abstraction_fakes import MARGIN_S, FakeLink, VirtualTimers

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.domain import Application, Desired, Model, Observed, Query, Replica, Snapshot, Version, VersionSpec
from clipper.engine import Engine
from clipper.engine.fleet import Fleet
from clipper.rpc.contract import Hello


class EngineBench:
    """Build the desired and the observed state with the verbs below, then ``apply``."""

    def __init__(self, run_s=lambda size: 0.001):
        self.timers = VirtualTimers()
        self.run_s = run_s
        self.links = {}
        self.auto_connect = True
        self.applications, self.models, self.versions, self.replicas, self.current = {}, {}, {}, {}, {}
        self.revision = 0
        self.engine = Engine(Fleet(PredictionCache(1 << 20), self._serve), clock=self.timers.now)

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
