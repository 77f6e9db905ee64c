"""Which requests are identical."""

from __future__ import annotations

from hashlib import blake2b

from google.protobuf.message import Message

UNSEEN_FIELDS = frozenset({"request_id", "user_id"})
"""What no model sees: it changes no answer."""


def cache_key(model: str, request: Message) -> bytes:
    """Return what is the same for requests that must have the same answer, and only for those.

    Args:
        model: Who answers: a release, in a variant.
        request: The message.
    """
    seen = type(request)()
    seen.CopyFrom(request)
    for name in UNSEEN_FIELDS.intersection(seen.DESCRIPTOR.fields_by_name):
        seen.ClearField(name)
    content = seen.SerializeToString(deterministic=True)
    return blake2b(content, key=blake2b(model.encode()).digest()).digest()
