"""The decision behind one answer, for ``"explain": true``."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from clipper.abstraction.call import Call
from clipper.engine.ticket import Ticket
from clipper.errors import ClipperError


def explanation(ticket: Ticket, now_s: float) -> dict[str, Any]:
    """Policy, weights and propensities, and what happened in cache, queue and model. Times in milliseconds."""
    body = _head(ticket, now_s)
    if ticket.served is not None:
        body["models"][ticket.served.name] = story(ticket, 1.0, 1.0)
    return body


def explained_choice(
    ticket: Ticket,
    now_s: float,
    *,
    models: Mapping[str, dict[str, Any]],
    weights: Mapping[str, float],
    chosen: str | None,
    context: str,
    fallback: ClipperError | None,
    ejected: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The same where a policy chose: among which arms, by what it knew of whom, and which one.

    ``ejected`` are arms that are left alone because they failed again and again.
    """
    body = _head(ticket, now_s) | {"models": dict(models), "weights": dict(weights), "chosen": chosen}
    body["context"] = context
    if fallback is not None:
        body["fallback"] = fallback.to_json()
    if ejected:
        body["ejected"] = dict(ejected)
    return body


def story(call: Call, weight: float | None, propensity: float) -> dict[str, Any]:
    """What happened to one model's part of a query."""
    return {"weight": weight, "propensity": propensity, **_happened(call)}


def _head(ticket: Ticket, now_s: float) -> dict[str, Any]:
    app, query = ticket.app, ticket.query
    return {
        "policy": app.policy_name if app else None,
        "slo_ms": round((ticket.deadline_s - query.arrived_s) * 1e3, 3),
        "latency_ms": round((now_s - query.arrived_s) * 1e3, 3),
        "models": {},
    }


def _happened(call: Call) -> dict[str, Any]:
    cache = "hit" if call.cached else "coalesced" if call.coalesced else "miss"
    happened: dict[str, Any] = {"cache": cache}
    trace = call.trace
    if trace is not None and not call.cached:
        happened |= {
            "queue_ms": round(max(0.0, trace.dispatched_s - call.submitted_s) * 1e3, 3),
            "batch_size": trace.batch_size,
            "replica": trace.replica_id,
            "model_ms": round(trace.run_s * 1e3, 3),
            "replica_wait_ms": round(trace.wait_s * 1e3, 3),
            "attempts": trace.attempts,
        }
    if call.error is not None:
        happened["error"] = call.error.to_json()
    return happened
