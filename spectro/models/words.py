"""The card in words: ``README.md`` of a model folder, written for the person who is to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spectro.models.card import CARD, ModelCard, shortened
from spectro.plumbing.words import percent

__all__ = ["describe"]

_MOST_LABELS = 200  # named on the page


def describe(card: ModelCard) -> str:
    """Write a card as a page of Markdown: what it tells, how well, how it was made, how to use it.

    Parameters
    ----------
    card : ModelCard
        Its ``scores`` may have ``accuracy``, ``accuracy_interval``, ``macro_f1``, ``clips``,
        ``measured`` (on which clips, in words), ``expected`` (whether they were scored by other
        networks than this), ``protocol`` and ``probes``; its ``training`` ``dataset``, ``clips``,
        ``folds``, ``weights``, ``precision``, ``recipe`` and ``changed``.
    """
    sections = {
        "": [_classes(card), _hears(card)],
        "What to expect": [*_worth(card.scores), *_believed(card), *_deaf_to(card.scores)],
        "How it was trained": [*_trained(card.training), _licence(card)],
        "How to use it": [_USE],
    }
    parts = [f"# {_network(card)} {len(card.labels)} sounds apart"]
    for title, paragraphs in sections.items():
        parts += [f"## {title}"] if title else []
        parts += paragraphs
    return "\n\n".join(parts) + "\n"


_USE = """\
```console
$ spectro predict THIS-FOLDER clip.wav      # name the sound in a file
$ spectro scan THIS-FOLDER night.flac       # find sounds in a long recording
$ spectro verify THIS-FOLDER                # does this machine get the same answers?
```

```python
import spectro

classifier = spectro.Classifier.load("THIS-FOLDER")
classifier.predict(["clip.wav"])
```"""


def _network(card: ModelCard) -> str:
    if card.members == 1:
        return f"A {card.arch} that tells"
    return f"{card.members} {card.arch}s that together tell"


def _classes(card: ModelCard) -> str:
    named = [shortened(label, 60) for label in card.labels[:_MOST_LABELS]]
    more = f" and {len(card.labels) - len(named):,} more" if len(card.labels) > len(named) else ""
    return f"Classes: {', '.join(named)}{more}."


def _hears(card: ModelCard) -> str:
    config = card.spectrogram
    return (
        f"It looks at mel-spectrograms of {config.duration:g} s at {config.sr:,} Hz "
        f"({config.n_mels} bands); `{CARD}` has all settings."
    )


def _worth(scores: Mapping[str, Any]) -> list[str]:
    """Say what it reached, with interval, and on what."""
    if not isinstance(scores.get("accuracy"), float):
        plain = [f"- {name}: {value}" for name, value in scores.items()]
        return ["\n".join(plain) or "Its score is not known."]
    told = f"**{percent(scores['accuracy'])}** of {_count(scores.get('clips'))} clips were named "
    told += f"right{_interval(scores.get('accuracy_interval'))}"
    if isinstance(scores.get("macro_f1"), float):
        told += f"; macro F1 {percent(scores['macro_f1'])}"
    told += f". They were {scores.get('measured', 'not trained on')}."
    lines = []
    if scores.get("expected"):
        lines.append(
            "This model was trained on every fold, which leaves no clip to score it on. What to "
            "expect of it is what the networks of the cross-validation, each trained without one "
            "fold, reached out of fold:"
        )
    return [*lines, told, *_list(scores.get("protocol", ()))]


def _interval(ends: Any) -> str:
    if not isinstance(ends, Sequence) or len(ends) != 2:
        return ""
    low, high = map(percent, ends)
    return f" (95 % interval over recordings: {low} to {high})"


def _believed(card: ModelCard) -> list[str]:
    """Say what its probabilities mean, and when a sound is unknown to it."""
    lines = []
    if card.temperature != 1:
        lines.append(
            f"Its probabilities are scaled by a temperature of {card.temperature:.3g}, fitted out "
            "of fold: of the clips that get 80 %, about 80 % should be right."
        )
    if card.unknown is not None:
        name = {
            "probability": "highest probability",
            "energy": "energy score (the logarithm of the sum of the exponentials of the logits)",
        }[card.unknown.method]
        lines.append(
            f"A sound whose {name} is below {card.unknown.threshold:.3g} is judged unknown. "
            f"{percent(card.unknown.kept)} of the out-of-fold clips are above. The score told "
            "clips of a class whose output was left out from the others with a mean AUROC of "
            f"{card.unknown.auroc:.3f}; a class that was never trained on is harder to tell."
        )
    if card.steady is not None:
        spared = ", ".join(card.steady.spared)
        much = f"{card.steady.change:.3g} of 255 steps of brightness"
        if card.steady.bands:
            much = f"{card.steady.change:.3g} times as much as in noise that was synthesised"
        still = card.steady.still
        hum = f"; or, in hum, nothing changes by more than {still:.3g}" if still else ""
        what = "Steady noise or hum" if still else "Steady noise"
        but = f", unless heard as {spared}," if spared else ""
        lines.append(
            f"{what}{but} is judged unknown: over time a band changes by at most {much}, from band "
            f"to band by at most {card.steady.relief:.3g} steps{hum}."
        )
    return lines


def _deaf_to(scores: Mapping[str, Any]) -> list[str]:
    """Say what it makes of silence, noise and hum."""
    probes = scores.get("probes")
    if not isinstance(probes, Mapping) or not probes:
        return []
    return [
        "What it makes of sounds that are none of its classes:",
        *_list([f"{name}: {answer}" for name, answer in probes.items()]),
    ]


def _trained(training: Mapping[str, Any]) -> list[str]:
    """Say what it was trained on, from what, and how."""
    if "dataset" not in training:
        return ["\n".join(f"- {name}: {value}" for name, value in training.items())]
    told = f"On {_count(training.get('clips'))} clips of {training['dataset']}"
    if training.get("folds"):
        told += f", folds {', '.join(map(str, training['folds']))}"
    told += f", from {training.get('weights', 'weights that are not known')}"
    if training.get("precision"):
        told += f", in {training['precision']}"
    return [told + ".", *_settings(training)]


def _settings(training: Mapping[str, Any]) -> list[str]:
    if "recipe" not in training:
        return []
    changed = training.get("changed")
    if not isinstance(changed, Mapping) or not changed:
        return [f"With the settings of the recipe `{training['recipe']}`."]
    lines = [
        f"{name}: {_value(now)} (recipe: {_value(was)})" for name, (now, was) in changed.items()
    ]
    return [f"With the recipe `{training['recipe']}`, and other than it says:", *_list(lines)]


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _licence(card: ModelCard) -> str:
    return f"Licence of the sounds it was trained on: {card.licence or 'not stated'}."


def _list(lines: Sequence[Any]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _count(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) else "an unknown number of"
