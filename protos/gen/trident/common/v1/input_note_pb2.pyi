from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InputRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_RULE_UNSPECIFIED: _ClassVar[InputRule]
    INPUT_RULE_IMPUTED: _ClassVar[InputRule]
    INPUT_RULE_CLIPPED_TO_MINIMUM: _ClassVar[InputRule]
    INPUT_RULE_CLIPPED_TO_MAXIMUM: _ClassVar[InputRule]
    INPUT_RULE_OUT_OF_RANGE_AS_MISSING: _ClassVar[InputRule]
    INPUT_RULE_UNKNOWN_AS_MISSING: _ClassVar[InputRule]
    INPUT_RULE_TRUNCATED: _ClassVar[InputRule]
INPUT_RULE_UNSPECIFIED: InputRule
INPUT_RULE_IMPUTED: InputRule
INPUT_RULE_CLIPPED_TO_MINIMUM: InputRule
INPUT_RULE_CLIPPED_TO_MAXIMUM: InputRule
INPUT_RULE_OUT_OF_RANGE_AS_MISSING: InputRule
INPUT_RULE_UNKNOWN_AS_MISSING: InputRule
INPUT_RULE_TRUNCATED: InputRule

class InputNote(_message.Message):
    __slots__ = ("feature", "rule")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    feature: str
    rule: InputRule
    def __init__(self, feature: _Optional[str] = ..., rule: _Optional[_Union[InputRule, str]] = ...) -> None: ...
