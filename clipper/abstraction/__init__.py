"""The model abstraction layer: from a call to a batch on a replica and back, in time."""
