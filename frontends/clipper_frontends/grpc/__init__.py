"""The gRPC port: Clipper's own service, health and reflection, on the event loop and the engine of the REST port."""
