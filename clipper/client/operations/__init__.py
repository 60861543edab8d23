"""What a connection can do, one function each: generators of `clipper.client.steps`, without any I/O."""
