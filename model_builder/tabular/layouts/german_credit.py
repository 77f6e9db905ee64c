"""Statlog German Credit (UCI 144, Hofmann 1994): names, meanings and codes of its columns.

Money is in Deutsche Mark of the 1970s. Class 2, "bad", is a credit that was not paid back.
"""

from __future__ import annotations

from model_builder.tabular.columns import Column, Layout, Target

_COLUMNS = (
    Column(
        "checking_status",
        "category",
        description="Balance of the checking account",
        meanings={
            "A11": "below 0 DM",
            "A12": "0 to 200 DM",
            "A13": "200 DM or more",
            "A14": "no checking account",
        },
    ),
    Column("duration_months", "quantity", description="Duration", unit="months"),
    Column(
        "credit_history",
        "category",
        description="Credit history",
        meanings={
            "A30": "no credits taken",
            "A31": "all credits here paid back duly",
            "A32": "existing credits paid back duly till now",
            "A33": "delay in paying back in the past",
            "A34": "critical account or other credits elsewhere",
        },
    ),
    Column(
        "purpose",
        "category",
        description="Purpose",
        meanings={
            "A40": "new car",
            "A41": "used car",
            "A42": "furniture or equipment",
            "A43": "radio or television",
            "A44": "domestic appliances",
            "A45": "repairs",
            "A46": "education",
            "A47": "vacation",
            "A48": "retraining",
            "A49": "business",
            "A410": "others",
        },
    ),
    Column("credit_amount", "quantity", description="Credit amount", unit="DM"),
    Column(
        "savings_status",
        "category",
        description="Savings and bonds",
        meanings={
            "A61": "below 100 DM",
            "A62": "100 to 500 DM",
            "A63": "500 to 1000 DM",
            "A64": "1000 DM or more",
            "A65": "unknown or no savings",
        },
    ),
    Column(
        "employment",
        "category",
        description="Time in the present employment",
        meanings={
            "A71": "unemployed",
            "A72": "below 1 year",
            "A73": "1 to 4 years",
            "A74": "4 to 7 years",
            "A75": "7 years or more",
        },
    ),
    Column(
        "installment_rate",
        "quantity",
        description="Instalment as a share of disposable income, from 1 (low) to 4 (high)",
    ),
    Column(
        "personal_status",
        "category",
        description="Sex and marital status",
        meanings={
            "A91": "male, divorced or separated",
            "A92": "female, divorced, separated or married",
            "A93": "male, single",
            "A94": "male, married or widowed",
            "A95": "female, single",
        },
        protected=True,
    ),
    Column(
        "other_parties",
        "category",
        description="Other debtors or guarantors",
        meanings={"A101": "none", "A102": "co-applicant", "A103": "guarantor"},
    ),
    Column(
        "residence_since", "quantity", description="Time at the present residence", unit="years"
    ),
    Column(
        "property_magnitude",
        "category",
        description="Most valuable property",
        meanings={
            "A121": "real estate",
            "A122": "building society savings or life insurance",
            "A123": "car or other",
            "A124": "unknown or no property",
        },
    ),
    Column("age_years", "quantity", description="Age", unit="years", protected=True),
    Column(
        "other_payment_plans",
        "category",
        description="Other instalment plans",
        meanings={"A141": "bank", "A142": "stores", "A143": "none"},
    ),
    Column(
        "housing",
        "category",
        description="Housing",
        meanings={"A151": "rent", "A152": "own", "A153": "for free"},
    ),
    Column("existing_credits", "quantity", description="Number of existing credits at this bank"),
    Column(
        "job",
        "category",
        description="Job",
        meanings={
            "A171": "unemployed or unskilled, non-resident",
            "A172": "unskilled, resident",
            "A173": "skilled employee or official",
            "A174": "management, self-employed or highly qualified",
        },
    ),
    Column("dependent_count", "quantity", description="Number of people to maintain"),
    Column(
        "own_telephone",
        "category",
        description="Telephone",
        meanings={"A191": "none", "A192": "yes, under the applicant's name"},
    ),
    Column(
        "foreign_worker",
        "category",
        description="Foreign worker",
        meanings={"A201": "yes", "A202": "no"},
        protected=True,
    ),
)

GERMAN_CREDIT = Layout(
    names=("german-credit", "german.data"),
    columns=_COLUMNS,
    target=Target("class", ("paid", "default"), {"1": 0, "2": 1}),
    separator=" ",
    file_columns=(*(column.name for column in _COLUMNS), "class"),
)
