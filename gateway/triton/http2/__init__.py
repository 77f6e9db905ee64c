"""Unary gRPC over HTTP/2, straight on the event loop.

The gateway asks Triton for every batch it forms, and ``grpc.aio`` spends a quarter of a
millisecond of CPU on each such call, most of it on handing events from its own threads to the
loop (``benchmarks/triton_channel.py``). This is the part of the protocol that those calls need,
RFC 9113 and the gRPC protocol over it, on an :class:`asyncio.Protocol`; headers are decoded by
the library ``hpack``.
"""
