"""Finds the layout of a known data set."""

from __future__ import annotations

from model_builder.tabular.columns import Layout
from model_builder.tabular.layouts.breast_cancer import BREAST_CANCER
from model_builder.tabular.layouts.credit_card_default import CREDIT_CARD_DEFAULT
from model_builder.tabular.layouts.german_credit import GERMAN_CREDIT
from model_builder.tabular.layouts.heart_disease import HEART_DISEASE_CLEVELAND

_LAYOUTS = (BREAST_CANCER, CREDIT_CARD_DEFAULT, GERMAN_CREDIT, HEART_DISEASE_CLEVELAND)


def known_layout(*names: str) -> Layout | None:
    """Return the layout of the first of ``names`` (data sets or files) that is known."""
    for name in names:
        for layout in _LAYOUTS:
            if name in layout.names:
                return layout
    return None
