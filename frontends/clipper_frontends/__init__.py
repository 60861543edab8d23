"""What clients talk to: REST now, gRPC later."""
