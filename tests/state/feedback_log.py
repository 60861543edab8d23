"""What the feedback log says the evidence should be."""

from collections.abc import Iterable, Mapping

import pytest

from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey, ContextKey, FeedbackRecord
from clipper.state.feedback import FeedbackStore


async def whole_log(store: FeedbackStore, application: ApplicationKey, **options) -> list[FeedbackRecord]:
    """All of its pages."""
    records, sequence = [], options.pop("after_sequence", 0)
    while sequence is not None:
        page = await store.log(application, after_sequence=sequence, **options)
        records += page.records
        sequence = page.next_sequence
    return records


def recomputed(records: Iterable[FeedbackRecord]) -> dict[ContextKey, Evidence]:
    """The evidence of every context, from the log alone, in whatever order it is given."""
    evidence: dict[ContextKey, Evidence] = {}
    for record in records:
        for context, position in zip(record.contexts, record.positions, strict=True):
            found = evidence.setdefault(context, Evidence(half_life_feedbacks=record.half_life_feedbacks))
            found.n = max(found.n, position)
            found.add_at(position, record.change)
    return evidence


def assert_same(evidence: Mapping[ContextKey, Evidence], expected: Mapping[ContextKey, Evidence]) -> None:
    assert evidence.keys() == expected.keys()
    for context, found in evidence.items():
        assert found.n == expected[context].n
        present, wanted = found.present(), expected[context].present()
        assert {arm: pytest.approx(dict(sums), rel=1e-9) for arm, sums in wanted.items()} == present
