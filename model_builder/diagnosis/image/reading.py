"""Reads data sets of images: archives as MedMNIST has them, and folders by class."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.drawing import stratified
from model_builder.diagnosis.duplicates import SPLITS, keys_of
from model_builder.diagnosis.evidence import IMAGE_SUFFIXES
from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.dataset import ImageData, Part
from model_builder.diagnosis.image.known_labels import KNOWN_LABELS
from model_builder.errors import DataFault, Fault
from model_builder.task import ResolvedData
from triton_models import images
from triton_models.image_errors import ImageRefused
from triton_models.release import ImageSpec

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_TYPES = {".png": images.PNG, ".jpg": images.JPEG, ".jpeg": images.JPEG, ".dcm": images.DICOM}
_SIZE_WITHOUT_BASE = 64
_METADATA = "metadata.csv"
_LEAST_ROWS = 2
"""Of a class that is learnt."""


@dataclass(frozen=True)
class _Raw:
    """Rows that are not split into three yet."""

    pixels: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    """``(rows,)``, the class of each, by its name."""
    splits: npt.NDArray[np.str_]
    """``(rows,)``; empty where the data do not say."""
    groups: npt.NDArray[np.str_] | None


def read_images(data: ResolvedData, config: ImageConfig, base_size: int | None) -> ImageData:
    """Return the images of an archive or a folder, as the release will take them.

    Args:
        data: Where they are.
        config: Size and splits.
        base_size: What a pretrained base wants; ``None`` if there is none.

    Raises:
        DataFault: Names everything that is wrong.
    """
    if data.path.is_dir():
        spec, raw = _read_folder(data.path, config, base_size)
    else:
        spec, raw = _read_archive(data.path, config, base_size)
    labels = tuple(_in_order(np.unique(raw.names)))
    places = {name: place for place, name in enumerate(labels)}
    target = np.array([places[name] for name in raw.names.tolist()], np.int64)
    splits, protocol = _three_ways(raw, target, config)
    known = KNOWN_LABELS.get(data.path.stem.partition("_")[0].lower(), {})
    whole = Part(raw.pixels, target, raw.groups)
    train, validation, test = (whole.chosen(np.flatnonzero(splits == name)) for name in SPLITS)
    shown = tuple(known.get(label, label) for label in labels)
    read = ImageData(
        spec=spec, labels=shown, train=train, validation=validation, test=test, protocol=protocol
    ).without_leaks(config.drop_duplicates)
    _check_classes(data.path.name, labels, read.parts)
    return read


def _read_archive(path: Path, config: ImageConfig, base_size: int | None) -> tuple[ImageSpec, _Raw]:
    if not zipfile.is_zipfile(path):
        raise DataFault([Fault(path.name, "a NumPy archive (.npz)", "something else")])
    with np.load(path, allow_pickle=False) as archive:
        arrays, faults = _arrays(path.name, archive, config.subgroup)
    if faults:
        raise DataFault(faults)
    first = next(iter(arrays.values()))["images"]
    side = config.image_size or base_size or min(max(first.shape[1:3]), 1024)
    spec = ImageSpec(
        height=side,
        width=side,
        channels=3 if first.ndim == 4 and first.shape[3] == 3 else 1,
        fit=config.fit or "crop",
    )
    rows = {split: len(some["labels"]) for split, some in arrays.items()}
    return spec, _Raw(
        np.stack([images.fitted_array(one, spec) for a in arrays.values() for one in a["images"]]),
        np.concatenate([a["labels"].reshape(-1).astype(np.str_) for a in arrays.values()]),
        np.repeat(list(rows), list(rows.values())),
        np.concatenate([a["groups"].reshape(-1).astype(np.str_) for a in arrays.values()])
        if config.subgroup
        else None,
    )


def _arrays(
    file: str, archive: Any, subgroup: str | None
) -> tuple[dict[str, dict[str, npt.NDArray[Any]]], list[Fault]]:
    found: dict[str, dict[str, npt.NDArray[Any]]] = {}
    faults = []
    wanted = {"images": "images", "labels": "labels"} | ({"groups": subgroup} if subgroup else {})
    prefixes = [n.removesuffix("_images") for n in archive.files if n.endswith("_images")]
    for prefix in prefixes:
        if prefix not in _SPLIT_NAMES:
            faults.append(
                Fault(file, f"one of {', '.join(_SPLIT_NAMES)}", f"'{prefix}'", column=prefix)
            )
            continue
        some = {}
        for key, suffix in wanted.items():
            name = f"{prefix}_{suffix}"
            try:
                some[key] = archive[name]
            except KeyError:
                faults.append(Fault(file, f"an array '{name}'", "none"))
            except ValueError:  # only unpickling, which could run any code, could read it
                faults.append(Fault(file, "numbers or texts", "objects", column=name))
        if len(some) == len(wanted):
            faults += _shape_faults(file, prefix, some)
            found[_SPLIT_NAMES[prefix]] = some
    if not found and not faults:
        faults.append(Fault(file, "arrays such as train_images", "none"))
    if "train" not in found and not faults:
        faults.append(Fault(file, "an array 'train_images'", "none"))
    return found, faults


def _shape_faults(file: str, prefix: str, some: Mapping[str, npt.NDArray[Any]]) -> list[Fault]:
    pixels = some["images"]
    faults = []
    right = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] in (1, 3))
    if not right or pixels.dtype.kind not in "buif" or 0 in pixels.shape:
        faults.append(
            Fault(
                file,
                "images (rows, height, width) or (rows, height, width, 3) of numbers",
                f"{pixels.dtype} {pixels.shape}",
                column=f"{prefix}_images",
            )
        )
    for key, values in some.items():
        name = f"{prefix}_{key}"
        if key != "images" and (values.size != len(values) or values.dtype.kind not in "biuU"):
            expected = "one whole number or text a row"
            faults.append(Fault(file, expected, f"{values.dtype} {values.shape}", column=name))
        if len(values) != len(pixels):
            faults.append(Fault(file, f"{len(pixels)} rows", f"{len(values)}", column=name))
    return faults


def _read_folder(path: Path, config: ImageConfig, base_size: int | None) -> tuple[ImageSpec, _Raw]:
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
    places = [_place(path, file) for file in files]
    faults = [
        Fault(str(file.relative_to(path)), "a folder by class, or split/class", "another place")
        for file, place in zip(files, places, strict=True)
        if place is None
    ]
    groups = _groups(path, files, config.subgroup, faults)
    side = config.image_size or base_size or _common_side(files) or _SIZE_WITHOUT_BASE
    spec = ImageSpec(height=side, width=side, channels=3, fit=config.fit or "pad")
    decoded = []
    for file in files:
        try:
            content = file.read_bytes()
            decoded.append(images.decode(content, _TYPES[file.suffix.lower()], spec).pixels)
        except ImageRefused as error:
            faults.append(Fault(str(file.relative_to(path)), "an image", f"one that {error}"))
    if faults:
        raise DataFault(faults)
    pixels = np.stack(decoded)
    if (pixels == pixels[..., :1]).all():
        spec = spec.model_copy(update={"channels": 1})
        # Decoded anew: grey is not red where a file has colours that only look grey when small.
        pixels = np.ascontiguousarray(pixels[..., :1])
    known = [place for place in places if place is not None]
    return spec, _Raw(
        pixels,
        np.array([name for _, name in known]),
        np.array([split for split, _ in known]),
        groups,
    )


def _place(root: Path, file: Path) -> tuple[str, str] | None:
    """Return split (or nothing) and class of a file, by where it lies."""
    folders = file.relative_to(root).parts[:-1]
    if not folders:
        return None
    split = _SPLIT_NAMES.get(folders[0].lower())
    if split is not None:
        return (split, folders[1]) if len(folders) > 1 else None
    return "", folders[0]


def _common_side(files: Sequence[Path]) -> int | None:
    """Return the side of small squares that are all alike."""
    sizes = set()
    for file in files:
        try:
            sizes.add(images.size_of(file.read_bytes(), _TYPES[file.suffix.lower()]))
        except ImageRefused:
            continue  # told when it is decoded
        if len(sizes) > 1:
            return None
    (size,) = sizes or {(0, 0)}
    return size[0] if size[0] == size[1] and 8 <= size[0] <= _SIZE_WITHOUT_BASE else None


def _groups(
    root: Path, files: Sequence[Path], subgroup: str | None, faults: list[Fault]
) -> npt.NDArray[np.str_] | None:
    """Return the subgroup of each file, from the table beside them."""
    if subgroup is None:
        return None
    table = root / _METADATA
    if not table.is_file():
        faults.append(Fault(root.name, f"a file '{_METADATA}' for subgroup={subgroup}", "none"))
        return None
    with table.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    missing = [name for name in ("file", subgroup) if not rows or name not in rows[0]]
    if missing:
        faults += [Fault(_METADATA, f"a column '{name}'", "none") for name in missing]
        return None
    known = {row["file"]: row[subgroup] for row in rows}
    return np.array([known.get(f.relative_to(root).as_posix(), "") or "(none)" for f in files])


def _three_ways(
    raw: _Raw, target: npt.NDArray[np.int64], config: ImageConfig
) -> tuple[npt.NDArray[np.str_], str]:
    """Return the split of each row, and in a sentence how it came to it."""
    splits = np.where(raw.splits == "", "train", raw.splits).astype("U10")
    drawn = []
    for name, share in (("test", config.test_share), ("validation", config.validation_share)):
        if not (splits == name).any():
            rows = np.flatnonzero(splits == "train")
            keys = keys_of(row.tobytes() for row in raw.pixels[rows])
            held = stratified(target[rows], share, config.seed, keys)
            splits[rows[held]] = name
            drawn.append(f"{name} {share:.0%} of each class of the other rows (seed {config.seed})")
    how = f"drawn: {'; '.join(drawn)}" if drawn else "as the data say"
    return splits, (
        f"Splits {how}. Weights were chosen, and temperature, thresholds and what is usual were "
        "fitted, on the validation rows; the test rows were answered once, at the end."
    )


def _in_order(names: npt.NDArray[np.str_]) -> list[str]:
    """Return class names, numbers by their value."""
    listed = [str(name) for name in names]
    if all(name.lstrip("-").isdigit() for name in listed):
        return sorted(listed, key=int)
    return sorted(listed)


def _check_classes(file: str, labels: Sequence[str], parts: Mapping[str, Part]) -> None:
    faults = []
    if len(labels) < 2:
        faults.append(Fault(file, "two classes or more", f"{len(labels)}"))
    for k, label in enumerate(labels):
        rows = int(np.count_nonzero(parts["train"].target == k))
        if rows < _LEAST_ROWS:
            expected = f"{_LEAST_ROWS} training rows or more of class '{label}'"
            faults.append(Fault(file, expected, str(rows)))
    for name, part in parts.items():
        if not len(part):
            faults.append(Fault(file, f"rows in the {name} split", "none"))
    if faults:
        raise DataFault(faults)
