"""Policies that do not do what a policy does."""

from typing import ClassVar

from clipper.selection.exp3 import Exp3
from clipper.selection.exp4 import Exp4


class Odd:
    """A good policy but for what is given here: what a method returns, or raises where it is an exception."""

    def __init__(self, good, **odd):
        self._good = good
        self._odd = odd

    def __getattr__(self, name):
        if name not in self._odd:
            return getattr(self._good, name)
        return lambda *_args: _result(self._odd[name])


def _result(value):
    if isinstance(value, Exception):
        raise value
    return value


def odd_bandit(**odd):
    return Odd(Exp3(), **odd)


def odd_ensemble(**odd):
    return Odd(Exp4(), **odd)


class Deaf(Exp3):
    """Chooses, and takes no feedback."""

    learns: ClassVar[bool] = False


class Greedy(Exp4):
    """Takes the weights out of what it is given."""

    def combine(self, outputs, weights, loss):
        answer = super().combine(outputs, weights, loss)
        for arm in outputs:
            del weights[arm]
        return answer
