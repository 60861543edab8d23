"""What another policy would have earned, and how an application has fared: pure computations on the feedback log.

`Evaluation` estimates the mean loss of policies other than the one that ran; `History` rebuilds weights and errors over
time; `LogStatistics` counts. Each takes one `FeedbackRecord` after the other, oldest first, in bounded memory.
"""

from clipper.evaluation.candidates import Candidate, Fallback, adaptive, always
from clipper.evaluation.evaluation import Evaluation
from clipper.evaluation.history import History
from clipper.evaluation.results import Estimate, Interval, Result
from clipper.evaluation.statistics import LogStatistics

__all__ = [
    "Candidate",
    "Estimate",
    "Evaluation",
    "Fallback",
    "History",
    "Interval",
    "LogStatistics",
    "Result",
    "adaptive",
    "always",
]
