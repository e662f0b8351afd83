"""Where a run comes from: settings, versions, and the commands that repeat it.

Folders are named without the path to them: a report is passed on, and paths are its writer's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from shlex import quote
from typing import Any

from spectro.crossval.protocol import of_folds
from spectro.crossval.run import RANDOM, Run
from spectro.plumbing.words import counted

__all__ = ["tell"]

Row = dict[str, Any]

_FLAG = re.compile("[a-z][a-z0-9_]{0,40}")
_NAME = re.compile(r"[\w.]{1,80}")  # of a function; a lambda has none
_FILES = ("folds_file", "verdicts")  # options of reading that name files
_FLAGS = {"seed": "fold_seed"}  # options of reading whose flag has another name


def tell(run: Run) -> Row:
    """Describe where a run comes from.

    Returns
    -------
    origin : dict
        ``run`` (its name), ``about`` and ``versions`` (pairs of name and value), ``settings`` (a
        TOML file), ``commands`` (lines), ``remarks`` (lines), ``licence`` and ``citation``.
    """
    record = run.record
    return {
        "run": run.folder.resolve().name,
        "about": _about(run),
        "versions": list(record.environment.versions.items()),
        "settings": _toml(run),
        "commands": _commands(run),
        "remarks": _remarks(run),
        "licence": record.dataset.licence,
        "citation": record.dataset.citation,
    }


def _about(run: Run) -> list[tuple[str, str]]:
    record, config = run.record, run.config
    about = record.dataset
    schedule = config.in_words if config.phases else "frozen, under a linear head"
    precision = of_folds(run, "precision")
    own = run.design.learner and f"the user's own: {run.design.learner_name}"
    classes = counted(len(run.labels), "class", "classes")
    why = record.weights.instead
    if config.precision == "auto":
        precision += " (chosen by auto on the machine that trained)"
    return [
        ("Dataset", f"{about.name}, {counted(about.clips, 'clip')}, {classes}"),
        ("Identity of clips and pictures", record.rendered.identity),
        ("Network", own or f"{config.arch}, {schedule}, recipe {config.recipe}"),
        *([("Why that start", why)] if why else []),
        ("Weights at the start", f"{record.weights.source}: {record.weights.detail}"),
        ("Arithmetic of training", precision),
        ("Seed", str(config.seed)),
        ("Identity of the training settings", config.identity),
        ("Platform", record.environment.platform),
        ("Git commit of spectro", record.environment.git_commit or "not known"),
        ("Trained on", ", ".join(_devices(run)) or "not known"),
        *_chosen(run),
    ]


def _chosen(run: Run) -> list[tuple[str, str]]:
    """Say which settings took the place of those above, where they were chosen by fold."""
    if run.design.candidates is None:
        return []
    names = (f"fold {fold}: {name}" for fold, name in run.chosen.items())
    return [("Changes of these that were chosen", ", ".join(names))]


def _devices(run: Run) -> list[str]:
    records = [run.fold_record(fold) for fold in run.finished_folds]
    return sorted({record.device for record in records if record.device})


def _toml(run: Run) -> str:
    config = run.config
    if _from_file(run):
        config = config.replace(weights=PurePath(config.weights).name)
    return run.spectrogram.to_toml() + "\n" + config.to_toml()


def _from_file(run: Run) -> bool:
    return run.record.weights.source == "file"


def _commands(run: Run) -> list[str]:
    record = run.record
    places = (record.dataset.root, record.rendered.folder, str(run.folder.resolve()))
    dataset, pictures, folder = map(quote, _apart(*map(_last, places)))
    settings = f"--config settings.toml --run {folder}"
    reading = _reading(record.dataset.reading or {})
    lines = [f"spectro render {dataset} --out {pictures} --config settings.toml{reading}"]
    if not run.config.phases:
        lines.append(f"spectro probe {pictures} {settings}")
    elif run.record.design is not None:
        lines.append(_by_design(run, pictures, folder))
    elif set(run.finished_folds) >= set(record.dataset.folds) and _plain(run):
        more = " --compare-random-split" if (run.folder / RANDOM).is_dir() else ""
        lines.append(f"spectro cross-validate {pictures} {settings}{more}")
    else:
        lines += [
            f"spectro train-fold {pictures} --fold {fold} {settings}" for fold in run.finished_folds
        ]
    return [*lines, f"spectro report {folder}"]


def _apart(dataset: str, pictures: str, run: str) -> tuple[str, str, str]:
    """Tell folders of one name apart, as they stand beside each other in the commands."""
    if pictures == dataset:
        pictures += "-pictures"
    return dataset, pictures, f"{run}-run" if run in (dataset, pictures) else run


def _reading(options: Mapping[str, Any]) -> str:
    """Write the options that the dataset was read with as flags."""
    flags = []
    for name, value in options.items():
        if not _FLAG.fullmatch(name):  # of a file that was tampered with
            continue
        flag = f"--{_FLAGS.get(name, name).replace('_', '-')}"
        if isinstance(value, bool):
            flags += [flag] if value else []
            continue
        for one in value if isinstance(value, list) else [value]:
            flags.append(f"{flag} {quote(_last(one) if name in _FILES else str(one))}")
    return "".join(f" {flag}" for flag in flags)


def _by_design(run: Run, pictures: str, folder: str) -> str:
    if run.design.learner is not None:
        given = {"make_learner": run.design.learner.name, "fit": run.design.learner.fit}
        made = ", ".join(
            f"{key}={name if _NAME.fullmatch(name) else '...'}"
            for key, name in given.items()
            if name
        )
        return (
            f'python: spectro.cross_validate(RenderedSet.load("{pictures}"), "{folder}", {made}), '
            "with the source in run.json"
        )
    if run.design.random_folds:
        return (
            f"spectro cross-validate {pictures} --config settings.toml --run {folder}-honest "
            "--compare-random-split"
        )
    if run.design.share is not None:
        share = f"{run.design.share:g}"
        return f"spectro learning-curve {pictures} --config settings.toml --shares {share}"
    inner = max((len(turn) for turn in (run.design.inner_folds or {}).values()), default=1)
    return (
        f"spectro cross-validate {pictures} --config settings.toml --run {folder} "
        f"--candidates {folder}/candidates.toml --inner-folds {inner}"
    )


def _plain(run: Run) -> bool:
    return run.config.inner_fold is None


def _last(path: str) -> str:
    """Give the last part of a path; of a URL, all of it."""
    return path if "://" in path else PurePath(path).name or "data"


def _remarks(run: Run) -> list[str]:
    """List remarks that the commands do not show."""
    lines = [
        "If clips were left out with --quarantine, give the same file again: the identity below "
        "tells whether clips are the same."
    ]
    if _from_file(run):
        lines.append(
            "The weights file is named without its folder: put it beside settings.toml, or write "
            "there where it is. Its checksum is below."
        )
    environments = [run.fold_record(fold).environment for fold in run.finished_folds]
    if any(environment != run.record.environment for environment in environments if environment):
        lines.append(
            "Not all folds were trained in the environment below; each fold.json names its own."
        )
    if (run.record.environment.git_commit or "").endswith("+"):
        lines.append("The + after the commit says that the source had been changed since.")
    lines.append(
        "The same seed gives the same numbers on the same machine and versions; elsewhere, "
        "rounding differs and with it a few clips."
    )
    return lines
