"""Breast Cancer Wisconsin, diagnostic (UCI 17, Wolberg 1995), as scikit-learn ships it.

Ten properties of the cell nuclei in a fine needle aspirate, each as its mean over the nuclei,
its standard error and its "worst" (the mean of the three largest).
"""

from __future__ import annotations

from model_builder.tabular.columns import Column, Layout, Target

_PROPERTIES = {
    "radius": "distance from the centre to the outline",
    "texture": "standard deviation of the grey values",
    "perimeter": "length of the outline",
    "area": "area of the nucleus",
    "smoothness": "local variation of the radius",
    "compactness": "perimeter squared by area, less 1",
    "concavity": "depth of the concave parts of the outline",
    "concave_points": "number of concave parts of the outline",
    "symmetry": "asymmetry of the nucleus",
    "fractal_dimension": "coastline approximation, less 1",
}
_STATISTICS = {"mean": "Mean", "error": "Standard error", "worst": "Worst"}


def _column(statistic: str, property_name: str) -> Column:
    parts = (property_name, statistic) if statistic == "error" else (statistic, property_name)
    name = "_".join(parts)
    words = f"{_STATISTICS[statistic]} {property_name.replace('_', ' ')}"
    return Column(
        name,
        "quantity",
        source=name.replace("_", " "),
        description=f"{words}: {_PROPERTIES[property_name]}",
    )


_COLUMNS = tuple(
    _column(statistic, property_name) for statistic in _STATISTICS for property_name in _PROPERTIES
)

BREAST_CANCER = Layout(
    names=("breast-cancer", "breast-cancer.csv"),
    columns=_COLUMNS,
    target=Target("diagnosis", ("benign", "malignant"), {"benign": 0, "malignant": 1}),
)
