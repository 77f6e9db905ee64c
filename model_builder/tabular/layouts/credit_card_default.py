"""Default of Credit Card Clients (UCI 350, Yeh 2009): Taiwan, April to September 2005.

Codes that occur but are not documented (EDUCATION 0, 5, 6; MARRIAGE 0) are kept apart from
the documented ones under a name that says so.
"""

from __future__ import annotations

from model_builder.tabular.columns import Column, Layout, Target

_MONTHS = ("september", "august", "july", "june", "may", "april")
_STATUS_SOURCES = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")
_NOT_LATE = {-2: "no use of the card", -1: "paid duly", 0: "revolving credit"}


def _months(month: str, number: int) -> tuple[Column, Column, Column]:
    name = month.capitalize()
    return (
        Column(
            f"repayment_status_{month}",
            "quantity",
            _STATUS_SOURCES[number],
            f"Delay of payment in {name} 2005",
            "months",
            special_codes=_NOT_LATE,
        ),
        Column(
            f"bill_{month}",
            "quantity",
            f"BILL_AMT{number + 1}",
            f"Bill in {name} 2005",
            "NT dollars",
        ),
        Column(
            f"payment_{month}",
            "quantity",
            f"PAY_AMT{number + 1}",
            f"Payment in {name} 2005",
            "NT dollars",
        ),
    )


_BY_MONTH = [_months(month, number) for number, month in enumerate(_MONTHS)]

_COLUMNS = (
    Column("credit_limit", "quantity", "LIMIT_BAL", "Credit limit", "NT dollars"),
    Column("sex", "category", "SEX", "Sex", meanings={"1": "male", "2": "female"}, protected=True),
    Column(
        "education",
        "category",
        "EDUCATION",
        "Education",
        meanings={
            "1": "graduate school",
            "2": "university",
            "3": "high school",
            "4": "others",
            "0": "undocumented 0",
            "5": "undocumented 5",
            "6": "undocumented 6",
        },
    ),
    Column(
        "marriage",
        "category",
        "MARRIAGE",
        "Marital status",
        meanings={"1": "married", "2": "single", "3": "others", "0": "undocumented 0"},
        protected=True,
    ),
    Column("age_years", "quantity", "AGE", "Age", "years", protected=True),
    *(column for part in range(3) for column in (months[part] for months in _BY_MONTH)),
)

CREDIT_CARD_DEFAULT = Layout(
    names=("credit-card-default", "UCI_Credit_Card.csv"),
    columns=_COLUMNS,
    target=Target("default.payment.next.month", ("paid", "default"), {"0": 0, "1": 1}),
)
