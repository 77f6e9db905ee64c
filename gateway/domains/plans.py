"""What is worked out of a manifest once, to be used for every request."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np

from gateway.domains.validation import MAX_ID_LENGTH
from trident.common.v1.feature_value_pb2 import FeatureValue
from triton_models.release import Manifest

PlanT = TypeVar("PlanT")

_MAX_PLANS = 64
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MISSING = float("nan")

Row = tuple[bytes, tuple[bytes, ...]]
"""The features of one request: its numbers as little-endian float32, NaN where one is missing; its
categories as UTF-8, ``b""`` where one is missing; both in the order of the schema."""


class Plans(Generic[PlanT]):
    """The plan of each manifest, made when it is first needed.

    A manifest is known by its identity: to compare two costs more than a plan saves.
    """

    def __init__(self, build: Callable[[Manifest], PlanT]) -> None:
        self._build = build
        self._plans: dict[int, tuple[Manifest, PlanT]] = {}

    def of(self, manifest: Manifest) -> PlanT:
        """Return the plan of a manifest."""
        known = self._plans.get(id(manifest))
        if known is not None and known[0] is manifest:
            return known[1]
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        plan = self._build(manifest)
        self._plans[id(manifest)] = manifest, plan
        return plan


class FeaturePlan:
    """Reads the features of plainly valid requests without a look at each rule.

    Each ``read…`` returns ``None`` where anything is not plain: not wrong, but to be checked with
    care by :mod:`.features`, which also says what is wrong.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._numbers = tuple(manifest.number_places)
        self._number_places = manifest.number_places
        self._category_places = manifest.category_places
        self._pack = struct.Struct(f"<{len(self._numbers)}f").pack
        # Where a rule refuses values, or that there is none, each has to be looked at.
        self._plain = not any(
            "refuse" in (spec.missing_rule, spec.unknown_rule) for spec in manifest.features
        )

    @property
    def only_plain_numbers(self) -> bool:
        """Whether there are numbers, no categories, and nothing that is refused."""
        return self._plain and bool(self._numbers) and not self._category_places

    def pack(self, values: Mapping[str, float]) -> bytes:
        """Return checked numbers by name as a row, NaN where one is missing."""
        return self._pack(*[values.get(name, _MISSING) for name in self._numbers])

    def read_numbers(self, values: Mapping[str, float]) -> Row | None:
        """Return the row of a map of numbers."""
        if not self.only_plain_numbers:
            return None
        try:
            if len(values) == len(self._numbers):
                numbers = list(map(values.get, self._numbers))
                # One call says that all are there, finite and no larger than a float32 may be.
                return (self._pack(*numbers), ()) if math.hypot(*numbers) <= _MAX_FLOAT32 else None  # type: ignore[arg-type]
            given = dict(values)
            if not given or not given.keys() <= self._number_places.keys():
                return None
            return (self.pack(given), ()) if math.hypot(*given.values()) <= _MAX_FLOAT32 else None
        except (TypeError, struct.error, OverflowError):
            return None

    def read_values(self, values: Mapping[str, FeatureValue]) -> Row | None:
        """Return the row of a map of ``FeatureValue``."""
        if not self._plain or not values:
            return None
        given: dict[str, float] = {}
        categories = [b""] * len(self._category_places)
        for name, value in values.items():
            kind = value.WhichOneof("kind")
            if kind == "number" and name in self._number_places:
                given[name] = value.number
            elif kind == "category" and name in self._category_places:
                text = value.category
                if not 1 <= len(text) <= MAX_ID_LENGTH or "\0" in text:
                    return None
                categories[self._category_places[name]] = text.encode()
            else:
                return None
        try:
            if math.hypot(*given.values()) <= _MAX_FLOAT32:
                return self.pack(given), tuple(categories)
        except OverflowError:
            pass
        return None


FEATURE_PLANS = Plans(FeaturePlan)
