from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.rpc import status_pb2 as _status_pb2
from trident.common.v1 import feature_value_pb2 as _feature_value_pb2
from trident.common.v1 import input_note_pb2 as _input_note_pb2
from trident.common.v1 import served_by_pb2 as _served_by_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScoreRiskRequest(_message.Message):
    __slots__ = ("request_id", "features", "reason_count")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _feature_value_pb2.FeatureValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_feature_value_pb2.FeatureValue, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    REASON_COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    features: _containers.MessageMap[str, _feature_value_pb2.FeatureValue]
    reason_count: int
    def __init__(self, request_id: _Optional[str] = ..., features: _Optional[_Mapping[str, _feature_value_pb2.FeatureValue]] = ..., reason_count: _Optional[int] = ...) -> None: ...

class ScoreRiskResponse(_message.Message):
    __slots__ = ("default_probability", "score", "band", "reasons", "input_notes", "model")
    DEFAULT_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BAND_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    INPUT_NOTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    default_probability: float
    score: float
    band: str
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    input_notes: _containers.RepeatedCompositeFieldContainer[_input_note_pb2.InputNote]
    model: _served_by_pb2.ServedBy
    def __init__(self, default_probability: _Optional[float] = ..., score: _Optional[float] = ..., band: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., input_notes: _Optional[_Iterable[_Union[_input_note_pb2.InputNote, _Mapping]]] = ..., model: _Optional[_Union[_served_by_pb2.ServedBy, _Mapping]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("feature", "contribution", "text")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    feature: str
    contribution: float
    text: str
    def __init__(self, feature: _Optional[str] = ..., contribution: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class BatchScoreRiskRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ScoreRiskRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ScoreRiskRequest, _Mapping]]] = ...) -> None: ...

class BatchScoreRiskResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[ScoreRiskResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[ScoreRiskResponse, _Mapping]]] = ...) -> None: ...

class StreamScoreRiskRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: ScoreRiskRequest
    def __init__(self, request: _Optional[_Union[ScoreRiskRequest, _Mapping]] = ...) -> None: ...

class StreamScoreRiskResponse(_message.Message):
    __slots__ = ("request_id", "response", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    response: ScoreRiskResponse
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., response: _Optional[_Union[ScoreRiskResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
