"""Generated code of protos that are not ours; see third_party/proto."""
