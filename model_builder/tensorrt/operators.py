"""Which operators TensorRT takes, and of which types, as its ONNX parser publishes it.

Written from ``docs/operators.md`` of onnx/onnx-tensorrt as of TensorRT 10.15. An operator that is
not here is not supported, whether it is marked so there or missing. What limits an operator beyond
types is in :mod:`model_builder.tensorrt.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CHECKED_AGAINST = "TensorRT 10.15"
OPSETS = range(9, 25)

_HALF = frozenset({"FP32", "FP16"})
_FLOATS = _HALF | {"BF16"}
_NUMBERS = _FLOATS | {"INT32", "INT64"}
_ALL = _NUMBERS | {"BOOL"}
_BOOL = frozenset({"BOOL"})
_CONSTANTS = _ALL | {"FP8", "FP4", "INT4"}

TYPES = _ALL | {"INT8", "INT4", "FP8", "FP4", "UINT8"}
"""Of any tensor. FP64 is read, and cast down to FP32."""

_GROUPS: tuple[tuple[frozenset[str], str], ...] = (
    (
        _FLOATS,
        "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv "
        "ConvTranspose Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool "
        "GlobalLpPool GlobalMaxPool GroupNormalization GRU HardSigmoid HardSwish Hardmax "
        "ImageScaler InstanceNormalization IsInf LayerNormalization LeakyRelu Log LogSoftmax LRN "
        "LSTM LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization ParametricSoftplus "
        "PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike "
        "Reciprocal Resize RMSNormalization RNN RotaryEmbedding Round ScaledTanh Scan Selu Sigmoid "
        "Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Upsample",
    ),
    (_HALF, "BlackmanWindow DeformConv GridSample HammingWindow HannWindow Mish "
            "NonMaxSuppression NonZero RoiAlign"),
    (
        _NUMBERS,
        "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less "
        "LessOrEqual Max Min Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum "
        "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu "
        "Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK",
    ),
    (
        _ALL,
        "Concat Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot "
        "Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze "
        "Where",
    ),
    (_BOOL, "And Not Or Xor"),
    (_ALL | {"UINT8"}, "Cast CastLike"),
    (_CONSTANTS, "Constant ConstantOfShape"),
    (_FLOATS | {"INT8", "FP8"}, "Attention"),
    (frozenset({"INT8", "FP8", "FP4", "INT4"}), "DequantizeLinear"),
    (_NUMBERS | {"INT8"}, "Gelu"),
    (_NUMBERS | {"FP8"}, "Mean"),
    (frozenset({"FP32"}), "STFT"),
    (_FLOATS | {"INT32"}, "TensorScatter"),
)  # fmt: skip

OPERATORS: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: types for types, names in _GROUPS for name in names.split()}
)
"""By operator: the types that it may compute in."""

DATA_INPUT: Mapping[str, int] = MappingProxyType({"Where": 1, "OneHot": 2, "Loop": 2})
"""The input whose type an operator computes in, where it is not the first."""

BY_OUTPUT = frozenset({"Constant", "ConstantOfShape", "If", "RandomNormal", "RandomUniform"})
"""Operators whose types are those of what they give."""
