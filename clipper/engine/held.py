"""The evidence that this frontend holds: of every application it serves, and of the users who came last."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from clipper.engine.distribution import Distribution
from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey, ContextKey

USER_OVERHEAD_BYTES: Final = 800
"""Bookkeeping of one user besides the evidence: table, list node, key with its uid, entry. A test measures it."""

DISTRIBUTION_BYTES: Final = 400
DISTRIBUTION_BYTES_PER_ARM: Final = 200


class SharedEvidence(msgspec.Struct, eq=False):
    """What everybody's feedback says about one application; one object for as long as it is served.

    ``revision`` changes with the evidence.
    """

    evidence: Evidence
    revision: int


class HeldUser(msgspec.Struct, eq=False):
    """One user of one application: the evidence as it is stored (empty: there is none), and what was made of it.

    ``made_for`` tells from what ``distribution`` was made.
    """

    packed: bytes = b""
    n: int = 0
    distribution: Distribution | None = None
    made_for: object = None

    def evidence(self) -> Evidence | None:
        """What is known of this user alone."""
        return _decode(self.packed) if self.packed else None

    def size_bytes(self) -> int:
        """All of it, roughly."""
        made = self.distribution
        made_bytes = 0 if made is None else DISTRIBUTION_BYTES + len(made.arms) * DISTRIBUTION_BYTES_PER_ARM
        return USER_OVERHEAD_BYTES + len(self.packed) + made_bytes


class HeldEvidence:
    """Users leave, least recently used first, beyond ``max_user_bytes``; the store has them all."""

    def __init__(self, max_user_bytes: int) -> None:
        self.max_user_bytes = max_user_bytes
        self.user_bytes = 0
        self.begun_anew = 0
        """How often: what was read from the store before the last time may be of a person who is erased."""
        self._shared: dict[ApplicationKey, SharedEvidence] = {}
        self._users: OrderedDict[ContextKey, HeldUser] = OrderedDict()
        self._revisions = 0

    @property
    def users(self) -> int:
        """How many users are held."""
        return len(self._users)

    def shared(self, application: ApplicationKey) -> SharedEvidence:
        """What everybody's feedback says; empty until it is put."""
        shared = self._shared.get(application)
        if shared is None:
            shared = self._shared[application] = SharedEvidence(Evidence(), self._next_revision())
        return shared

    def user(self, context: ContextKey) -> HeldUser | None:
        """A user that is held, now the one used last."""
        held = self._users.get(context)
        if held is not None:
            self._users.move_to_end(context)
        return held

    def put(self, evidence: Mapping[ContextKey, Evidence]) -> None:
        """Take over newer evidence. What is older than what is held came the slower way and is left out."""
        for context, newer in evidence.items():
            name, generation, uid = context
            if uid:
                self._put_user(context, newer)
            elif newer.n > self.shared((name, generation)).evidence.n:
                self._put_shared((name, generation), newer)

    def put_unknown(self, contexts: Iterable[ContextKey]) -> None:
        """The store knows nothing of these users; that is worth remembering too."""
        for context in contexts:
            if context not in self._users:
                self._keep(context, HeldUser())

    def keep(self, context: ContextKey, held: HeldUser, distribution: Distribution, made_for: object) -> None:
        """Keep what was made of a user's evidence. It says the same until ``made_for`` changes."""
        before_bytes = held.size_bytes()
        held.distribution, held.made_for = distribution, made_for
        if self._users.get(context) is held:
            self.user_bytes += held.size_bytes() - before_bytes
            self._evict()

    def replace(self, evidence: Mapping[ContextKey, Evidence], applications: Iterable[ApplicationKey]) -> None:
        """Begin anew with exactly this: a person was erased, or nobody knows any more what changed."""
        self._users.clear()
        self.user_bytes = 0
        self.begun_anew += 1
        for name, generation in applications:
            self._put_shared((name, generation), evidence.get((name, generation, ""), Evidence()))

    def retain(self, applications: Iterable[ApplicationKey]) -> None:
        """Forget applications that are not served any more; their users leave as the oldest ones do."""
        served = set(applications)
        for application in [application for application in self._shared if application not in served]:
            del self._shared[application]

    def held_of(self, contexts: Iterable[ContextKey]) -> list[ContextKey]:
        """Which of these contexts are held here."""
        return [
            (name, generation, uid)
            for name, generation, uid in contexts
            if ((name, generation) in self._shared if not uid else (name, generation, uid) in self._users)
        ]

    def _put_shared(self, application: ApplicationKey, evidence: Evidence) -> None:
        shared = self.shared(application)
        shared.evidence, shared.revision = evidence.copy(), self._next_revision()

    def _put_user(self, context: ContextKey, evidence: Evidence) -> None:
        before = self._users.pop(context, None)
        if before is not None:
            self.user_bytes -= before.size_bytes()
            if before.n >= evidence.n:
                self._keep(context, before)
                return
        self._keep(context, HeldUser(_encode(evidence), evidence.n))

    def _keep(self, context: ContextKey, held: HeldUser) -> None:
        self._users[context] = held
        self.user_bytes += held.size_bytes()
        self._evict()

    def _evict(self) -> None:
        while self.user_bytes > self.max_user_bytes:
            _, oldest = self._users.popitem(last=False)
            self.user_bytes -= oldest.size_bytes()

    def _next_revision(self) -> int:
        self._revisions += 1
        return self._revisions


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Evidence).decode
