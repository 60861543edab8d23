"""Composition: a query goes through selection and abstraction and comes back as one answer."""

from clipper.engine.answer import Answer
from clipper.engine.application import ServedApplication
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket

__all__ = ["Answer", "Engine", "ServedApplication", "Ticket"]
