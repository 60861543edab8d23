"""Replicas in Docker containers: the manager, and the images that it runs. The only part that knows the Docker SDK."""
