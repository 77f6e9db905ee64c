"""The public data sets that have a name, and what is known of each.

A data set is checked by what it says, not by how it is wrapped: the ``canonical_sha256`` of a
text file is taken over its sorted rows with numbers written one way (``model_builder.fetching``),
because copies in circulation differ in row order, line ends and ``63.0`` against ``63``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_UCI = "https://archive.ics.uci.edu/static/public"


@dataclass(frozen=True)
class TextFormat:
    """How to read a text file."""

    separator: str = ","
    columns: tuple[str, ...] = ()
    """The columns' names; empty if the first line names them."""
    missing: tuple[str, ...] = ("",)
    """Cells that stand for no value."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set."""

    name: str
    canonical_sha256: str = ""
    sha256: tuple[str, ...] = ()
    """Of the whole file, for one that is not text: each known copy."""
    md5: str = ""
    """As the publisher gives it, where that is all that is known of the original."""
    member: str = ""
    """Its path in the archive that is fetched; empty if the address is the file itself."""
    renamed_columns: tuple[str, ...] = ()
    """Written as the header in place of the fetched one."""


@dataclass(frozen=True)
class PublicData:
    """A public data set under its name, which is also its folder's in a mirror."""

    name: str
    summary: str
    licence: str
    citation: str
    url: str = ""
    """Where it is fetched from; empty if no file is needed."""
    files: tuple[DataFile, ...] = ()
    """One file is handed to a task as it is, several as their folder."""
    label: str | None = None
    format: TextFormat = field(default_factory=TextFormat)
    generated: bool = False


_CREDIT_CARD_COLUMNS = (
    "ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE,PAY_0,PAY_2,PAY_3,PAY_4,PAY_5,PAY_6,"
    "BILL_AMT1,BILL_AMT2,BILL_AMT3,BILL_AMT4,BILL_AMT5,BILL_AMT6,"
    "PAY_AMT1,PAY_AMT2,PAY_AMT3,PAY_AMT4,PAY_AMT5,PAY_AMT6,default.payment.next.month"
)

PUBLIC_DATA = (
    PublicData(
        name="movielens-latest-small",
        summary="100,836 ratings of 9,724 films by 610 people, 2018-09",
        licence="GroupLens: no commercial use without permission; redistribution on these terms",
        citation="Harper & Konstan (2015): The MovieLens Datasets. ACM TiiS 5(4)",
        url="https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
        files=(
            DataFile(
                "ratings.csv",
                "0f156936ade22188d3d4a816792f3aad444d0c007c5f68ef1724e90396809193",
                member="ml-latest-small/ratings.csv",
            ),
            DataFile(
                "movies.csv",
                "80bee4b736def5486eed8e615b7e35152bf814d61c8e6d90570a5bbb116b34c1",
                member="ml-latest-small/movies.csv",
            ),
        ),
    ),
    PublicData(
        name="german-credit",
        summary="1,000 loans with 20 attributes, 300 of them bad",
        licence="CC BY 4.0",
        citation="Hofmann (1994): Statlog (German Credit Data). UCI, doi:10.24432/C5NC77",
        url=f"{_UCI}/144/statlog+german+credit+data.zip",
        files=(
            DataFile(
                "german.data",
                "749a99d5d86c691860b268a10b26395d51ef7d0c6492322d9fae5381e82d36cd",
                member="german.data",
            ),
        ),
        label="class",
        format=TextFormat(
            separator=" ",
            columns=(
                "checking_status",
                "duration_months",
                "credit_history",
                "purpose",
                "credit_amount",
                "savings",
                "employment_since",
                "installment_rate",
                "personal_status",
                "other_debtors",
                "residence_since",
                "property",
                "age_years",
                "other_installment_plans",
                "housing",
                "existing_credits",
                "job",
                "dependents",
                "telephone",
                "foreign_worker",
                "class",
            ),
        ),
    ),
    PublicData(
        name="credit-card-default",
        summary="30,000 credit card clients with 23 features, 22 % default",
        licence="CC BY 4.0",
        citation="Yeh (2009): Default of Credit Card Clients. UCI, doi:10.24432/C55S3H",
        # UCI's archive holds an old Excel file; this is the same table as UCI's own CSV,
        # whose columns X1 … X23, Y get their documented names here.
        url=f"{_UCI}/350/data.csv",
        files=(
            DataFile(
                "UCI_Credit_Card.csv",
                "b39a1d450ea27eba5eb157591928a54d10b5682c2495a65b7e75b5e7bf1054a4",
                renamed_columns=tuple(_CREDIT_CARD_COLUMNS.split(",")),
            ),
        ),
        label="default.payment.next.month",
    ),
    PublicData(
        name="heart-disease-cleveland",
        summary="303 patients with 13 measurements; 139 have heart disease, in 4 grades",
        licence="CC BY 4.0",
        citation="Janosi et al. (1989): Heart Disease. UCI, doi:10.24432/C52P4X",
        url=f"{_UCI}/45/heart+disease.zip",
        files=(
            DataFile(
                "processed.cleveland.data",
                "1c7bfdf6edad67a4492d4ac1f4fbcc8932230eaf1c40f7f7a822af827f88cb2c",
                member="processed.cleveland.data",
            ),
        ),
        label="num",
        format=TextFormat(
            columns=(
                "age",
                "sex",
                "cp",
                "trestbps",
                "chol",
                "fbs",
                "restecg",
                "thalach",
                "exang",
                "oldpeak",
                "slope",
                "ca",
                "thal",
                "num",
            ),
            missing=("?", ""),
        ),
    ),
    PublicData(
        name="breast-cancer",
        summary="569 tumours with 30 measurements, 212 malignant; comes with scikit-learn",
        licence="CC BY 4.0",
        citation="Wolberg et al. (1995): Breast Cancer Wisconsin (Diagnostic). UCI, "
        "doi:10.24432/C5DW2B",
        files=(
            DataFile(
                "breast-cancer.csv",
                "782591f2d6b0780a70fd647a498e3f83880259d89af4f49df93087067619f062",
            ),
        ),
        label="diagnosis",
    ),
    PublicData(
        name="pneumoniamnist",
        summary="5,856 chest X-rays of children, 28×28 grey, pneumonia or not",
        licence="CC BY 4.0",
        citation="Yang et al. (2023): MedMNIST v2. Scientific Data 10, 41",
        url="https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1",
        files=(
            DataFile(
                "pneumoniamnist.npz",
                # A copy with the training rows in another order.
                sha256=("ce8250bf5debc3c389b89affcc1d9feac579b26e875a848301e9f937bb0c2eee",),
                md5="28209eda62fecd6e6a2d98b1501bb15f",
            ),
        ),
    ),
    PublicData(
        name="generated-interactions",
        summary="made up on the spot: people with tastes who watch films that do not exist",
        licence="none: made up",
        citation="",
        files=(DataFile("ratings.csv"), DataFile("movies.csv")),
        generated=True,
    ),
    PublicData(
        name="generated-credit",
        summary="made up on the spot: loans whose default follows a rule, with gaps",
        licence="none: made up",
        citation="",
        files=(DataFile("loans.csv"),),
        label="default",
        generated=True,
    ),
    PublicData(
        name="generated-measurements",
        summary="made up on the spot: laboratory values of people who are ill or not, with gaps",
        licence="none: made up",
        citation="",
        files=(DataFile("measurements.csv"),),
        label="condition",
        generated=True,
    ),
)
