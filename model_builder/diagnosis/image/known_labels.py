"""What the numbers of public data sets stand for, by the name of the file.

MedMNIST v2 (Yang et al. 2023, doi:10.1038/s41597-022-01721-8).
"""

from __future__ import annotations

from collections.abc import Mapping

KNOWN_LABELS: Mapping[str, Mapping[str, str]] = {
    "pneumoniamnist": {"0": "normal", "1": "pneumonia"},
    "breastmnist": {"0": "malignant", "1": "normal or benign"},
}
