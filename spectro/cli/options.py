"""Options that several commands share, each written once, and the settings that they add up to.

A settings class is the one place that says what a setting is: its field gives an option's name,
type and choices, and the first sentence of its entry under "Parameters" the help. A command asks
for settings as one parameter, and :func:`with_options` puts the options in its place. An option
left out is None and leaves what the recipe or the TOML file says.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union, get_args, get_origin

import typer
from rich.markup import escape

from spectro.clips.datasets import LAYOUTS
from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.described import entries, first_sentence
from spectro.plumbing.settings import Settings, read_table
from spectro.training.pretraining.settings import IDLE_IF_NEW, OF_PAIRS, PretrainConfig
from spectro.training.recipes import RECIPES, recipe_spectrogram
from spectro.training.recipes import recipe as find_recipe
from spectro.training.settings import Phase, TrainConfig

if TYPE_CHECKING:
    from spectro.clips.table import Dataset

__all__ = [
    "FOLDS",
    "PICTURE",
    "PRETRAINING",
    "READING",
    "RECIPE_AND_FILE",
    "RUNNING",
    "SPECTROGRAM",
    "TABLE",
    "TRAINING",
    "DatasetRoot",
    "Gpus",
    "Group",
    "Quarantine",
    "Reading",
    "Rendered",
    "RunFolder",
    "RunsFolder",
    "ThreadCount",
    "TimeBudget",
    "Track",
    "Workers",
    "either",
    "flags_of",
    "from_recipe",
    "settings",
    "training",
    "with_options",
]

_USUAL = TrainConfig.model_fields["arch"].default  # the network where none is asked for

# Panels of --help.
PICTURE, TRAINING, FOLDS, RUNNING = "Picture", "Training", "Folds", "Running"
TABLE = "Table of your own"

DatasetRoot = Annotated[
    str, typer.Argument(help="Folder of a dataset or CSV of clips, or its URL.")
]
Rendered = Annotated[Path, typer.Argument(help="Folder that spectro render wrote.")]
Quarantine = Annotated[
    Optional[Path], typer.Option(help="CSV of clips to leave out; spectro check writes one.")
]
RunFolder = Annotated[
    Optional[Path],
    typer.Option(
        "--run",
        help="Run folder; by default one in --runs, named after the settings.",
        rich_help_panel=RUNNING,
    ),
]
RunsFolder = Annotated[
    Path, typer.Option("--runs", help="Folder of all runs.", rich_help_panel=RUNNING)
]
Track = Annotated[
    Optional[str],
    typer.Option(
        help="Also record with tensorboard or wandb, in the run's folder.", rich_help_panel=RUNNING
    ),
]
TimeBudget = Annotated[
    Optional[float],
    typer.Option(
        min=0.01, help="Minutes: fewer epochs, smaller pictures, to fit.", rich_help_panel=RUNNING
    ),
]
Gpus = Annotated[
    int,
    typer.Option(min=1, help="Share one training among so many GPUs.", rich_help_panel=RUNNING),
]
ThreadCount = Annotated[
    Optional[int],
    typer.Option(
        "--threads",
        min=1,
        help="Threads that train; default, by timing a few steps.",
        rich_help_panel=RUNNING,
    ),
]
Workers = Annotated[
    Optional[int],
    typer.Option(min=1, help="Processes; default, all processors.", rich_help_panel=RUNNING),
]


@dataclass(frozen=True)
class Group:
    """Options that stand in a command's signature in place of one parameter.

    Attributes
    ----------
    parameters : tuple of inspect.Parameter
        The options, annotated as typer reads them.
    build : callable
        Called with their values by name; returns what the command gets.
    """

    parameters: tuple[inspect.Parameter, ...]
    build: Callable[..., Any]


def with_options(**groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace parameters of a command by the options of groups, built when the command is called.

    Parameters
    ----------
    **groups
        The group that takes the place of the parameter of this name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        nested = [groups[p.name].parameters if p.name in groups else (p,) for p in own]
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for expanded in nested
            for parameter in expanded
        ]

        def called(**values: Any) -> None:
            for name, group in groups.items():
                given = {p.name: values.pop(p.name) for p in group.parameters}
                values[name] = group.build(**given)
            command(**values)

        functools.update_wrapper(called, command)
        del called.__wrapped__  # type: ignore[attr-defined]  # its signature is another one
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        return called

    return decorate


def either(words: Iterable[str]) -> str:
    """Write words as a choice: "a, b or c"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _option(
    name: str,
    kind: Any,
    text: str,
    panel: str | None = None,
    choices: Iterable[str] = (),
    default: Any = None,
) -> inspect.Parameter:
    """Make an option of a command."""
    words = list(choices)
    info = typer.Option(
        f"--{name.replace('_', '-')}",
        help=escape(text),
        rich_help_panel=panel,
        autocompletion=(lambda: words) if words else None,
    )
    annotation = Annotated[Optional[kind], info]
    where = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, where, default=default, annotation=annotation)


def _setting(cls: type[Settings], name: str, panel: str, before: str = "") -> inspect.Parameter:
    """Make the option of a setting."""
    kind, choices = _kind(cls.model_fields[name].annotation)
    text = _without_none(first_sentence(entries(cls)[name]))
    if before:
        text = f"{before}{text[:1].lower()}{text[1:]}"
    if not all(f'"{word}"' in text for word in choices):
        text = f"{text.removesuffix('.')}: {either(choices)}."
    return _option(name, kind, text, panel, choices)


def _without_none(text: str) -> str:
    """Say what holds without the option; a command line has no None.

    Examples
    --------
    >>> _without_none("Highest frequency in Hz; None means sr / 2.")
    'Highest frequency in Hz; by default sr / 2.'
    """
    text = re.sub(r"(?:; None: no \w+|, as None)(?=\.)", "", text)
    text = re.sub(r"\bNone (?:keeps|opens) none\b", "by default none", text)
    return re.sub(r"\bNone (?:means|takes)\b", "by default", text)


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the type that a command line reads for a field, and the words it may be."""
    if get_origin(annotation) is tuple:  # of words: the option may be repeated
        return list[str], ()
    union = get_origin(annotation) in (Union, types.UnionType)
    kinds = get_args(annotation) if union else (annotation,)
    choices = tuple(
        word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)
    )
    numbers = [kind for kind in (float, int) if kind in kinds]
    return (numbers[0], ()) if numbers and not choices else (str, choices)


def _config_file(panel: str) -> inspect.Parameter:
    text = "TOML file with the tables [spectrogram] and [train]; spectro settings prints one."
    return _option("config", Path, text, panel)


def _recipe(panel: str) -> inspect.Parameter:
    names = [name for name, settings in RECIPES.items() if settings.phases]
    text = f"Settings to start from: {either(names)}."
    return _option("recipe", str, text, panel, names)


def _spectrogram(config: Path | None, recipe: str | None, **flags: Any) -> SpectrogramConfig:
    """Start from the recipe's pictures, then apply the TOML file, then the flags."""
    base = recipe_spectrogram(recipe or "default")
    if config is None:
        return base.replace(**flags)
    if recipe is None:
        return SpectrogramConfig.from_toml(config).replace(**flags)
    return base.replace(**read_table(config, "spectrogram")).replace(**flags)


def _train(
    config: Path | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    **flags: Any,
) -> TrainConfig:
    """Start from the recipe, then apply the TOML file, then the flags."""
    table = read_table(config, "train") if config else {}
    base = find_recipe(recipe or table.get("recipe", "default"))
    settings = _with_table(base, {**table, "recipe": base.recipe}, config).replace(**flags)
    asked_for = flags.get("arch") or table.get("arch") or base.arch != _USUAL
    if settings.weights == "auto" and not asked_for:
        settings = settings.replace(arch="auto")
    return settings.with_last_phase(epochs=epochs, lr=lr)


def _with_table(base: TrainConfig, table: dict[str, Any], config: Path | None) -> TrainConfig:
    """Apply the table of a TOML file, which an error names."""
    try:
        return base.with_table(table)
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}" if config else str(error)) from None


SPECTROGRAM = Group(
    (
        _config_file(PICTURE),
        _recipe(PICTURE),
        *(_setting(SpectrogramConfig, name, PICTURE) for name in SpectrogramConfig.model_fields),
    ),
    _spectrogram,
)


def from_recipe(config: Path | None, recipe: str | None) -> tuple[SpectrogramConfig, TrainConfig]:
    """Give the settings of pictures and of training of a recipe, changed by a TOML file."""
    return _spectrogram(config, recipe), _train(config, recipe)


RECIPE_AND_FILE = Group((_config_file(PICTURE), _recipe(PICTURE)), dict)


def _pretraining(
    config: Path | None, recipe: str | None, **flags: Any
) -> tuple[PretrainConfig, SpectrogramConfig]:
    """Apply the TOML file, then the flags."""
    own = {name: flags.pop(name) for name in PretrainConfig.model_fields}
    base = PretrainConfig.from_toml(config) if config else PretrainConfig()
    chosen = base.replace(**own)
    idle = [name for name in OF_PAIRS if own[name] is not None]
    if chosen.objective == "parameters" and idle:
        raise ConfigError(f"--{idle[0]} is of pairs; it changes nothing if objective is parameters")
    drawn = [name for name in IDLE_IF_NEW if flags.get(name) is not None]
    if chosen.drawing == "new" and drawn:
        flag = drawn[0].replace("_", "-")
        raise ConfigError(f"--{flag} changes nothing if drawing is new: each picture has its own")
    return chosen, _spectrogram(config, recipe, **flags)


PRETRAINING = Group(
    (
        _option("config", Path, "TOML file with the tables [pretrain] and [spectrogram].", PICTURE),
        *SPECTROGRAM.parameters[1:],
        *(_setting(PretrainConfig, name, TRAINING) for name in PretrainConfig.model_fields),
    ),
    _pretraining,
)


def training(*names: str, recipe: str | None = None) -> Group:
    """Make the options of these settings of training, in this order.

    Parameters
    ----------
    *names : str
        Fields of :class:`~spectro.training.settings.TrainConfig`, or of the last
        :class:`~spectro.training.settings.Phase`.
    recipe : str or None
        Settings to start from; None makes this an option.
    """
    options = [
        _setting(TrainConfig, name, FOLDS if name == "inner_fold" else TRAINING)
        if name in TrainConfig.model_fields
        else _setting(Phase, name, TRAINING, "In the last phase: ")
        for name in names
    ]
    if recipe is not None:
        return Group((_config_file(TRAINING), *options), functools.partial(_train, recipe=recipe))
    return Group((_config_file(TRAINING), _recipe(TRAINING), *options), _train)


def settings(cls: type[Settings], panel: str, *names: str) -> Group:
    """Make the options of these settings of a class, or of all; what is not given is its default.

    Parameters
    ----------
    cls : type of Settings
    panel : str
        Of ``--help``.
    *names : str
        Fields; none means all.
    """
    given = flags_of(cls, panel, *names)
    return Group(given.parameters, lambda **flags: cls(**given.build(**flags)))


def flags_of(cls: type[Settings], panel: str, *names: str) -> Group:
    """Make options of a settings class; the command gets those that were given, as a dict.

    Parameters
    ----------
    cls : type of Settings
    panel : str
        Of ``--help``.
    *names : str
        Fields; none means all.
    """
    options = tuple(_setting(cls, name, panel) for name in names or cls.model_fields)

    def given(**flags: Any) -> dict[str, Any]:
        return {name: value for name, value in flags.items() if value is not None}

    return Group(options, given)


@dataclass(frozen=True)
class Reading:
    """How a dataset is read."""

    layout: str
    esc10: bool
    n_folds: int | None
    fold_seed: int | None
    group_pattern: str | None
    folds_file: Path | None
    path_column: str | None
    label_column: str | None
    fold_column: str | None
    group_column: str | None
    verdicts: list[Path] | None

    def load(self, root: str, *, only_look: bool = False) -> Dataset:
        """Read the clip table of the dataset at `root`; folds that are made are not kept yet.

        Parameters
        ----------
        root : str
            Folder, table or URL.
        only_look : bool
            Tell recordings apart as when folds were made, where no option says how.
        """
        from spectro.clips import datasets

        options = dataclasses.asdict(self)
        layout = options.pop("layout")
        for name in ("esc10", "verdicts"):
            options[name] = options[name] or None
        options["seed"] = options.pop("fold_seed")
        return datasets.load(root, layout, keep_folds=False, as_before=only_look, **options)


_LAYOUTS = ["auto", *LAYOUTS]
READING = Group(
    (
        _option("layout", str, f"{either(_LAYOUTS)}.", None, _LAYOUTS, "auto"),
        _option("esc10", bool, "Of ESC-50, only ESC-10.", default=False),
        _option("n_folds", int, "Folds to make where none are.", FOLDS),
        _option("fold_seed", int, "Seed of making them.", FOLDS),
        _option(
            "group_pattern", str, "Regular expression for the recording in a file name.", FOLDS
        ),
        _option("folds_file", Path, "Where made folds are kept.", FOLDS),
        _option("path_column", str, "Column of a CSV with the files; default, path.", TABLE),
        _option("label_column", str, "Column with the classes; default, label.", TABLE),
        _option("fold_column", str, "Column with the folds; default, fold, if there.", TABLE),
        _option("group_column", str, "Column with the recordings; default, group.", TABLE),
        _option(
            "verdicts",
            list[Path],
            "Table of spectro review, whose clips are added; repeatable.",
            TABLE,
        ),
    ),
    Reading,
)
