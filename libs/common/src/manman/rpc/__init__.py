"""gRPC's door: serving, calling, and the one chain of steps around every call.

services   a proto service and the object that answers it
chain      what happens around every call, whether it came by gRPC or REST
access     who is calling, and may they
errors     our errors to google.rpc.Status and back
server     a listening gRPC server
client     a channel, and calls that raise our errors
"""
