"""The messages of our gRPC protocols, in a descriptor pool of their own.

Two files that define ``inference.ModelInferRequest`` clash within one pool: with the default one, a program could not
use our client and tritonclient together. ``import clipper`` never imports this package.
"""

from clipper.protocols.descriptors import Messages, file_of, files, service_named

__all__ = ["Messages", "file_of", "files", "service_named"]
