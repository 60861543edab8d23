"""Delayed batching (pure): a batch that could be larger waits a little for more queries.

Clipper, NSDI'17, section 4.3.2: worth it where the cost of a batch is mostly fixed and queries come thinly.
"""


def hold_until(
    size: int, target_size: int, head_arrived_s: float, delay_s: float, head_deadline_s: float, run_s: float
) -> float | None:
    """Until when to hold a batch, None to send it now.

    It is held while it is smaller than the policy's size, for ``delay_s`` after its head arrived, and never so long
    that the head would be late after a run of ``run_s``. A time in the past means now as well.
    """
    if delay_s <= 0 or size >= target_size:
        return None
    return min(head_arrived_s + delay_s, head_deadline_s - run_s)
