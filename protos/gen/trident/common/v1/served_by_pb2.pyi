from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ServedBy(_message.Message):
    __slots__ = ("line", "release", "variant")
    LINE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    line: str
    release: str
    variant: str
    def __init__(self, line: _Optional[str] = ..., release: _Optional[str] = ..., variant: _Optional[str] = ...) -> None: ...
