"""The messages and services of the gRPC API, generated from proto/manman/v1 by `make protos`."""
