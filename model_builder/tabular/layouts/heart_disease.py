"""Heart Disease, Cleveland (UCI 45, Detrano 1989): 13 measurements, ``num`` above 0 is disease."""

from __future__ import annotations

from model_builder.tabular.columns import Column, Layout, Target

_COLUMNS = (
    Column("age", "quantity", description="Age", unit="years"),
    Column("sex", "code", description="Sex", meanings={"0": "female", "1": "male"}),
    Column(
        "cp",
        "code",
        description="Chest pain",
        meanings={
            "1": "typical angina",
            "2": "atypical angina",
            "3": "non-anginal pain",
            "4": "asymptomatic",
        },
    ),
    Column("trestbps", "quantity", description="Resting blood pressure", unit="mm Hg"),
    Column("chol", "quantity", description="Serum cholesterol", unit="mg/dl"),
    Column(
        "fbs",
        "code",
        description="Fasting blood sugar above 120 mg/dl",
        meanings={"0": "no", "1": "yes"},
    ),
    Column(
        "restecg",
        "code",
        description="Resting electrocardiogram",
        meanings={
            "0": "normal",
            "1": "ST-T wave abnormality",
            "2": "left ventricular hypertrophy",
        },
    ),
    Column("thalach", "quantity", description="Maximum heart rate", unit="beats/min"),
    Column(
        "exang", "code", description="Exercise-induced angina", meanings={"0": "no", "1": "yes"}
    ),
    Column(
        "oldpeak", "quantity", description="ST depression by exercise relative to rest", unit="mm"
    ),
    Column(
        "slope",
        "code",
        description="Slope of the peak exercise ST segment",
        meanings={"1": "upsloping", "2": "flat", "3": "downsloping"},
    ),
    Column("ca", "quantity", description="Major vessels coloured by fluoroscopy"),
    Column(
        "thal",
        "code",
        description="Thallium scan",
        meanings={"3": "normal", "6": "fixed defect", "7": "reversible defect"},
    ),
)

HEART_DISEASE_CLEVELAND = Layout(
    names=("heart-disease-cleveland", "processed.cleveland.data"),
    columns=_COLUMNS,
    target=Target(
        "num", ("no disease", "disease"), {"0": 0, **{str(number): 1 for number in range(1, 5)}}
    ),
    file_columns=(*(column.name for column in _COLUMNS), "num"),
)
