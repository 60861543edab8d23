"""The frontend's end of the container protocol (`proto/container.md`): links that dial replicas."""
