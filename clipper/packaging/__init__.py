"""Packaging a model: a live object or a saved file becomes a deterministic tar with a manifest."""

from clipper.packaging.package import Package, package

__all__ = ["Package", "package"]
