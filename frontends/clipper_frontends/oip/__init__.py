"""The Open Inference Protocol, whatever carries it: names, tensors, metadata. REST and gRPC are two codings of this."""
