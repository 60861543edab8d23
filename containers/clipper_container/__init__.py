"""The runtime that serves one replica of a model to Clipper, and the protocol that both ends speak."""
