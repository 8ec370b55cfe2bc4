"""REST: the gateway, its OpenAPI document and its page, all derived from the protos."""
