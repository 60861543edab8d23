"""The decision behind one answer, for ``"explain": true``."""

from typing import Any

from clipper.engine.ticket import Ticket


def explanation(ticket: Ticket, now_s: float) -> dict[str, Any]:
    """Policy, weights and propensities, and what happened in cache, queue and model. Times in milliseconds."""
    app, served, query = ticket.app, ticket.served, ticket.query
    body: dict[str, Any] = {
        "policy": app.policy_name if app else None,
        "slo_ms": round((ticket.deadline_s - query.arrived_s) * 1e3, 3),
        "latency_ms": round((now_s - query.arrived_s) * 1e3, 3),
        "models": {},
    }
    if served is not None:
        body["models"][served.name] = {"weight": 1.0, "propensity": 1.0, **_happened(ticket)}
    return body


def _happened(ticket: Ticket) -> dict[str, Any]:
    cache = "hit" if ticket.cached else "coalesced" if ticket.coalesced else "miss"
    story: dict[str, Any] = {"cache": cache}
    trace = ticket.trace
    if trace is not None and not ticket.cached:
        story |= {
            "queue_ms": round(max(0.0, trace.dispatched_s - ticket.submitted_s) * 1e3, 3),
            "batch_size": trace.batch_size,
            "replica": trace.replica_id,
            "model_ms": round(trace.run_s * 1e3, 3),
            "replica_wait_ms": round(trace.wait_s * 1e3, 3),
            "attempts": trace.attempts,
        }
    if ticket.error is not None:
        story["error"] = ticket.error.to_json()
    return story
