import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_KIND_UNSPECIFIED: _ClassVar[FeatureKind]
    FEATURE_KIND_NUMBER: _ClassVar[FeatureKind]
    FEATURE_KIND_CATEGORY: _ClassVar[FeatureKind]

class FeatureRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEATURE_RULE_UNSPECIFIED: _ClassVar[FeatureRule]
    FEATURE_RULE_REFUSE: _ClassVar[FeatureRule]
    FEATURE_RULE_IMPUTE: _ClassVar[FeatureRule]
    FEATURE_RULE_CLIP: _ClassVar[FeatureRule]
FEATURE_KIND_UNSPECIFIED: FeatureKind
FEATURE_KIND_NUMBER: FeatureKind
FEATURE_KIND_CATEGORY: FeatureKind
FEATURE_RULE_UNSPECIFIED: FeatureRule
FEATURE_RULE_REFUSE: FeatureRule
FEATURE_RULE_IMPUTE: FeatureRule
FEATURE_RULE_CLIP: FeatureRule

class ListModelsRequest(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: str
    def __init__(self, domain: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("domain", "release", "line")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    domain: str
    release: str
    line: str
    def __init__(self, domain: _Optional[str] = ..., release: _Optional[str] = ..., line: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("domain", "line", "release", "variant", "weight", "serving", "serving_detail", "data_set", "create_time", "metrics", "features", "labels", "item_count", "bands", "reads_times")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    SERVING_DETAIL_FIELD_NUMBER: _ClassVar[int]
    DATA_SET_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    READS_TIMES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    line: str
    release: str
    variant: str
    weight: float
    serving: bool
    serving_detail: str
    data_set: str
    create_time: _timestamp_pb2.Timestamp
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    features: _containers.RepeatedCompositeFieldContainer[Feature]
    labels: _containers.RepeatedScalarFieldContainer[str]
    item_count: int
    bands: _containers.RepeatedCompositeFieldContainer[Band]
    reads_times: bool
    def __init__(self, domain: _Optional[str] = ..., line: _Optional[str] = ..., release: _Optional[str] = ..., variant: _Optional[str] = ..., weight: _Optional[float] = ..., serving: _Optional[bool] = ..., serving_detail: _Optional[str] = ..., data_set: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[Feature, _Mapping]]] = ..., labels: _Optional[_Iterable[str]] = ..., item_count: _Optional[int] = ..., bands: _Optional[_Iterable[_Union[Band, _Mapping]]] = ..., reads_times: _Optional[bool] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("split", "name", "value", "low", "high")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    split: str
    name: str
    value: float
    low: float
    high: float
    def __init__(self, split: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Feature(_message.Message):
    __slots__ = ("name", "kind", "description", "unit", "minimum", "maximum", "categories", "codes", "missing_rule", "unknown_rule", "special_codes", "protected")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    MISSING_RULE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_RULE_FIELD_NUMBER: _ClassVar[int]
    SPECIAL_CODES_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: FeatureKind
    description: str
    unit: str
    minimum: float
    maximum: float
    categories: _containers.RepeatedScalarFieldContainer[str]
    codes: _containers.RepeatedScalarFieldContainer[float]
    missing_rule: FeatureRule
    unknown_rule: FeatureRule
    special_codes: _containers.RepeatedCompositeFieldContainer[SpecialCode]
    protected: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[FeatureKind, str]] = ..., description: _Optional[str] = ..., unit: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., categories: _Optional[_Iterable[str]] = ..., codes: _Optional[_Iterable[float]] = ..., missing_rule: _Optional[_Union[FeatureRule, str]] = ..., unknown_rule: _Optional[_Union[FeatureRule, str]] = ..., special_codes: _Optional[_Iterable[_Union[SpecialCode, _Mapping]]] = ..., protected: _Optional[bool] = ...) -> None: ...

class SpecialCode(_message.Message):
    __slots__ = ("code", "meaning")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    code: float
    meaning: str
    def __init__(self, code: _Optional[float] = ..., meaning: _Optional[str] = ...) -> None: ...

class Band(_message.Message):
    __slots__ = ("name", "minimum_score")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_SCORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    minimum_score: float
    def __init__(self, name: _Optional[str] = ..., minimum_score: _Optional[float] = ...) -> None: ...
