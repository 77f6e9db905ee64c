"""The manifest of a release: what it is, what it holds, and how that was proven."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from triton_models.image_limits import most_images
from triton_models.limits import MAX_BATCH_ROWS
from triton_models.note_limits import MAX_NOTE_TOKENS, most_notes
from triton_models.plans import Plan, Readiness

_RELEASE_NAME = re.compile(r"[a-z0-9.]+")

Variant = Literal["ensemble", "fused"]
"""A layout of a release: a model for each step and what joins them, or all in one model."""

ENSEMBLE: Variant = "ensemble"
FUSED: Variant = "fused"


def check_release_name(name: str) -> str:
    """Return ``name`` if it can name a release.

    Raises:
        ValueError: If it holds anything but ``a-z``, ``0-9`` and ``.``, is longer than
            64 characters or is only dots (which would leave the store's folder).
    """
    if not _RELEASE_NAME.fullmatch(name) or len(name) > 64 or not name.strip("."):
        raise ValueError(
            f"release name {name!r}: must be 1 to 64 of a-z, 0-9 and '.', not only dots"
        )
    return name


ReleaseName = Annotated[str, AfterValidator(check_release_name)]


def default_release_name(now: datetime | None = None) -> str:
    """Return the UTC time as a release name, such as ``20261123t101502``."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dt%H%M%S")


MODEL_NAME = "^(?P<line>[a-z0-9-]+)__(?P<release>[a-z0-9.]+)(__(?P<step>[a-z0-9_.-]+))?$"
"""How the models of a release are called in Triton; what is called otherwise is not ours."""


def ensemble_name(line: str, release: str) -> str:
    """Return the Triton model name of a release's ensemble."""
    return f"{line}__{release}"


def step_name(line: str, release: str, step: str) -> str:
    """Return the Triton model name of one step of a release."""
    return f"{line}__{release}__{step}"


def network_path(model: str) -> str:
    """Return the path below ``models/`` of the network of a Triton model."""
    return f"{model}/1/model.onnx"


def fused_name(line: str, release: str) -> str:
    """Return the Triton model name of all steps of a release in one."""
    return step_name(line, release, FUSED)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class FeatureSpec(_Frozen):
    """One feature that a request may carry: what a client must know to send it."""

    name: str
    kind: Literal["number", "category"]
    description: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    codes: tuple[float, ...] = ()
    """The only values of a number that is a code; empty if it is a quantity."""
    special_codes: dict[float, str] = Field(default_factory=dict)
    """Values of a quantity that name something instead, such as -9 for "no record"; they may lie
    outside its range."""
    missing_values: tuple[str, ...] = ()
    """Texts that held no value in the data; a request leaves the feature out instead."""
    missing_rule: Literal["impute", "refuse"] = "impute"
    unknown_rule: Literal["clip", "impute", "refuse"] = "impute"
    typical: float | str | None = None
    """The value that stands in for a missing one and that contributions are measured from:
    the training data's median or most frequent category."""
    high_text: str = ""
    """Plain words for a reason when a number lies above ``typical``; ``{value}`` is filled in."""
    low_text: str = ""
    """The same when it lies at or below ``typical``, and for every category."""
    protected: bool = False
    """Whether it is an attribute that must not decide: no reason ever names it."""
    monotonic: Literal["increasing", "decreasing"] | None = None
    """How the risk moves with a quantity, whatever the others are; ``None`` leaves it free."""

    @property
    def specials(self) -> tuple[float, ...]:
        """The special codes."""
        return tuple(self.special_codes)


class ImageSpec(_Frozen):
    """The images that a release takes: what any image is made into before it is sent there."""

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Literal[1, 3]
    """Grey, or red, green and blue."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """What becomes of an image with other proportions: its middle is seen, black is put beside
    it, or it is stretched."""


class NoteSpec(_Frozen):
    """The notes that a release takes."""

    max_tokens: int = Field(ge=1, le=MAX_NOTE_TOKENS)
    """That it reads of a note; what follows is cut off."""


class OperatingPoint(_Frozen):
    """A stated way to tell one finding from all others; held-out rows chose the threshold."""

    name: str
    """Such as ``sensitivity 0.95``; ``balanced`` errs as often one way as the other."""
    label: str
    threshold: float
    """The finding is said to be there from this probability on."""


class Metric(_Frozen):
    """A measured value with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Step(_Frozen):
    """One model of the ensemble."""

    name: str
    role: Literal["pre", "core", "post"]
    model: str
    """Its name in Triton."""


class Tensor(_Frozen):
    """A tensor of the ensemble as this release has it; ``dims`` without the batch axis."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class DataSource(_Frozen):
    """What the release was trained on."""

    name: str
    sha256: str
    rows: int
    generated: bool = False
    """True if the data was made up: such a release is for trying out, never for use."""
    licence: str = ""
    source: str = ""
    """The address or path it was read from."""
    split: dict[str, int] = Field(default_factory=dict)
    """Rows in each split."""
    findings: tuple[str, ...] = ()
    """What was wrong with it, such as a column that holds one value; named at build time."""
    counts: dict[str, int] = Field(default_factory=dict)
    """How many rows, or users, were left out, put in order or found odd, by what they were."""
    split_sha256: str = ""
    """Of which row is in which split: the same data and seed give the same."""
    protocol: str = ""
    """How the splits were made and the metrics taken, in one or two sentences."""


Compared = Literal[
    "torch-onnx",
    "keras-onnx",
    "tensorflow-onnx",
    "original-onnx",
    "onnxruntime-onnx",
    "torch-served",
    "keras-served",
    "tensorflow-served",
    "original-served",
    "onnxruntime-served",
]
"""What answered first, and what answered the same; ``original`` is an ONNX file as it came. Of a
child whose networks are no longer those that were trained, ``onnxruntime`` is what its own steps
answer to each row by itself, where it was made."""


class Parity(_Frozen):
    """How far two runs of the same network are apart on one output."""

    compared: Compared
    rows: int
    tolerance: float
    max_difference: float


class Latency(_Frozen):
    """How long one inference took, asked again and again on the machine of the build."""

    rows: int
    samples: int
    median_ms: float
    p95_ms: float


class Check(_Frozen):
    """One thing that the gate looked at."""

    name: str
    wanted: str
    found: str
    passed: bool


class ScoreBand(_Frozen):
    """A band of scores, from ``minimum_score`` up to the next safer band."""

    name: str
    minimum_score: float
    share: float | None = None
    """Of the held-out rows."""
    bad_rate: float | None = None
    """Of the held-out rows in it; ``None`` if it holds none."""


class Distribution(_Frozen):
    """How many rows lay where when the release was built."""

    name: str
    """Of the feature; ``score`` with the kind ``score``."""
    kind: Literal["number", "category", "score"]
    edges: tuple[float, ...] = ()
    """Of a number: what lies between bins, rising; a value at an edge is above it."""
    values: tuple[str, ...] = ()
    """Of categories and codes: the bins; special codes of a number have bins of their own."""
    counts: tuple[int, ...]
    """Rows in each bin: those of ``edges``, those of ``values``, anything else, missing."""


class GroupFairness(_Frozen):
    """How a group of a protected attribute fares at the cut-off; held-out rows."""

    attribute: str
    group: str
    rows: int
    approval_rate: Metric
    approval_ratio: float | None
    """To the group that is approved most; below 0.8 is commonly held to be adverse impact."""
    paid_approval_rate: Metric | None
    """Of those who paid back: equal opportunity."""
    promised: float
    """Mean probability of default."""
    happened: Metric
    """Share of defaults: the calibration by group."""


class Cutoff(_Frozen):
    """The score from which a credit is approved."""

    minimum_score: float
    chosen_for: str
    """What was stated at build, such as ``bad rate 0.05``."""
    approval_rate: float
    """Of the held-out rows."""
    bad_rate: float | None = None
    """Of the held-out rows that it approves; ``None`` if it approves none."""


class WarmStart(_Frozen):
    """What a release took over from an earlier one."""

    release: str
    """``LINE/RELEASE``."""
    items_kept: int
    """Items of the earlier catalogue; they keep their vectors."""
    items_unseen: int
    """Those of them that the newer log does not have; they stay in the catalogue."""
    items_new: int
    """Items that the earlier catalogue did not have."""


class Stages(_Frozen):
    """What the two stages of a recommender are worth, each by itself."""

    shortlist: int
    """Items that the first stage finds and the second orders."""
    found: dict[str, float]
    """By split: the share of the targets that are on the shortlist."""
    first_stage: dict[str, dict[str, Metric]]
    """Split, then metric name: of the first stage alone. Of both together: the manifest's."""
    ranker_kept: bool
    """Whether the second stage changes the order: only if it was no worse on the validation."""
    ranker_gain: float
    """What it added to the validation's NDCG@10 when it was trained, kept or not."""


class Apart(_Frozen):
    """How far the answers of a child are from those of its parent, on one output."""

    largest: float
    """Of numbers the largest difference; of texts and truths the rows that differ."""
    mean: float
    """Of numbers the mean difference; of texts and truths the share of the rows that differ."""


class Derived(_Frozen):
    """What a child release was made of, and how: the same network in another form."""

    release: str
    """``LINE/RELEASE`` of the parent."""
    manifest_sha256: str
    """Of the parent's manifest as it was written."""
    variant: str
    """Such as ``int8-static``."""
    precision: str
    """What the changed steps compute in, such as ``int8``."""
    how: str
    """In a sentence or two."""
    steps: tuple[str, ...] = ()
    """Whose networks, or files beside them, are other than the parent's."""
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings and findings of the change, such as which operators stayed in float."""
    apart: dict[str, Apart] = Field(default_factory=dict)
    """By output, over the test split; empty where the networks are the parent's."""
    company: dict[str, float] = Field(default_factory=dict)
    """By output: how far a row's answer moves with the rows that travel with it, at most."""
    inherited: tuple[str, ...] = ()
    """Fields of this manifest that were measured of the parent and not again."""


class Manifest(_Frozen):
    """Everything known about a release. Written last: a release without one does not exist."""

    schema_version: Literal[1] = 1
    line: str
    release: ReleaseName
    create_time: datetime
    git_commit: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    seed: int
    run: str = ""
    """The training that it came of, by the name in ``model-builder runs``."""
    data: DataSource
    hyperparameters: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, dict[str, Metric]]
    """Split, then metric name."""
    baselines: dict[str, dict[str, dict[str, Metric]]] = Field(default_factory=dict)
    """Name of the baseline, split, metric name."""
    verdict: Literal["accepted", "refused"] = "accepted"
    """What the gate said; a refused release is kept to be looked at, and never promoted."""
    checks: tuple[Check, ...] = ()
    """What the gate looked at."""
    parity: dict[str, Parity]
    """By output of the ensemble."""
    fused_parity: dict[str, Parity] = Field(default_factory=dict)
    """The same of the variant ``fused``; empty in a release that has none."""
    served_parity: dict[str, dict[str, Parity]] = Field(default_factory=dict)
    """By who was asked (a variant on a real Triton, or the gateway in front of it), then output;
    empty in a release that was not proven there."""
    latency: dict[str, Latency] = Field(default_factory=dict)
    """By variant."""
    recorded: dict[str, str] = Field(default_factory=dict)
    """sha256 of what a proof compares with, of the rows that it may be quantised by, and of the
    weights that a build may go on from, by their paths below the release's reports."""
    steps: tuple[Step, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    features: tuple[FeatureSpec, ...] = ()
    labels: tuple[str, ...] = ()
    review_threshold: float | None = None
    """Diagnosis: below this probability of the first finding a person must look."""
    image: ImageSpec | None = None
    """Diagnosis from images: what they are made into."""
    note: NoteSpec | None = None
    """Diagnosis from notes: how much of one is read."""
    operating_points: tuple[OperatingPoint, ...] = ()
    """Diagnosis: where sensitivity and specificity were measured. The gateway decides nothing by
    them."""
    bands: tuple[ScoreBand, ...] = ()
    """Risk: safest first."""
    cutoff: Cutoff | None = None
    """Risk: where fairness was measured. The gateway decides nothing by it."""
    calibration: str = ""
    """Risk: ``beta`` or ``isotonic``, whichever held-out rows chose."""
    reference_score: float | None = None
    """Risk: of a row that is typical throughout. A score is less than it by the points that
    the contributions add up to."""
    points_per_log_odds: float | None = None
    """Risk: what a contribution of 1 takes from the score."""
    distributions: tuple[Distribution, ...] = ()
    """Risk: of each feature and of the score, for ``model-builder drift``."""
    fairness: tuple[GroupFairness, ...] = ()
    """Risk: by group of each protected attribute, at the cut-off."""
    item_count: int = 0
    """Recommendation: the size of the catalogue."""
    warm_start: WarmStart | None = None
    """Recommendation: the release that training went on from; ``None`` if it began anew."""
    stages: Stages | None = None
    """Recommendation: what finding and ordering are each worth."""
    variants: tuple[Variant, ...] = (ENSEMBLE,)
    tensorrt: dict[str, Readiness] = Field(default_factory=dict)
    """By core: whether TensorRT is said to take it; empty in a release that was not looked at."""
    plans: tuple[Plan, ...] = ()
    """What ``model-builder compile`` made, for the profile ``tensorrt``."""
    files: dict[str, str]
    """sha256 of every file of the release, by path below ``models/``."""
    parent: str | None = None
    """The release that answered most of the line's calls when this one was built."""
    derived: Derived | None = None
    """Of a child release: what it was made of; ``None`` if it was trained or imported."""
    signature: str | None = None
    """The file beside this one that signs it; ``None`` if nothing does."""

    @property
    def ensemble(self) -> str:
        """The Triton model that answers for this release."""
        return ensemble_name(self.line, self.release)

    def model_of(self, variant: str) -> str:
        """Return the Triton model that answers for this release in a variant."""
        return fused_name(self.line, self.release) if variant == FUSED else self.ensemble

    def extra_file(self, name: str) -> str:
        """Return the path below ``models/`` of a file that comes along with the models."""
        return f"{self.ensemble}/1/{name}"

    @cached_property
    def input_names(self) -> frozenset[str]:
        """What the tensors are called that it takes."""
        return frozenset(tensor.name for tensor in self.inputs)

    @cached_property
    def features_by_name(self) -> dict[str, FeatureSpec]:
        """Each feature by its name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def number_places(self) -> dict[str, int]:
        """The place of each feature in the tensor ``numbers``, by its name."""
        names = [feature.name for feature in self.features if feature.kind == "number"]
        return {name: place for place, name in enumerate(names)}

    @cached_property
    def category_places(self) -> dict[str, int]:
        """The place of each feature in the tensor ``categories``, by its name."""
        names = [feature.name for feature in self.features if feature.kind == "category"]
        return {name: place for place, name in enumerate(names)}


def most_rows(manifest: Manifest) -> int:
    """Return how many rows a release may be asked at once, however long each is."""
    if manifest.image is not None:
        image = manifest.image
        return most_images(image.height, image.width, image.channels)
    return most_notes(manifest.note.max_tokens) if manifest.note is not None else MAX_BATCH_ROWS


def rows_of_triton(manifest: Manifest) -> int:
    """Return how many rows of a release Triton must take at once: as many as one call may carry."""
    return most_rows(manifest) if manifest.image is not None else MAX_BATCH_ROWS


class RouteTarget(_Frozen):
    """A release and its share of a line's traffic."""

    release: ReleaseName
    weight: float = Field(default=1.0, ge=0, le=1)


class Routes(_Frozen):
    """The content of one route file: for each line, which releases answer."""

    lines: dict[str, tuple[RouteTarget, ...]] = Field(default_factory=dict)
    shadows: dict[str, ReleaseName] = Field(default_factory=dict)
    """By line: a release that is asked too and whose answers are only compared."""
    create_time: datetime | None = None
    note: str = ""
    """What was asked for, such as ``promote score-risk/r2 --weight 5%``."""
    restores: dict[str, int] = Field(default_factory=dict)
    """By line that a rollback brought back: the number of the file that it is as in."""
