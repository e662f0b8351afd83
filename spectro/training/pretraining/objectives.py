"""What a network is asked of synthesised sounds, and how far its answers are off."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from spectro.training.pretraining.parameters import KINDS, PARAMETERS
from spectro.training.pretraining.sounds import Plan

__all__ = ["Heads", "contrast", "parameter_errors"]

_PROJECTED = (512, 128)  # features of the head that pairs are told by
_VARIANCE = 1 / 12  # of a place drawn evenly from 0 to 1


class Heads(nn.Module):
    """What stands on the pooled features while pretraining, and is thrown away afterwards.

    Parameters
    ----------
    features : int
        How many the network gives.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.present = nn.Linear(features, len(KINDS) + 2)
        self.places = nn.Linear(features, len(PARAMETERS))
        for guess in (self.present, self.places):  # at first the same whatever the sound
            nn.init.zeros_(guess.weight)
        nn.init.zeros_(self.present.bias)
        nn.init.constant_(self.places.bias, 0.5)  # the middle
        hidden, last = _PROJECTED
        self.project = nn.Sequential(
            nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, last)
        )


def parameter_errors(heads: Heads, features: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Compare what a network says of sounds with what they were made of.

    Parameters
    ----------
    heads : Heads
    features : Tensor [shape=(n, features)]
    plan : Plan
        Of these sounds.

    Returns
    -------
    present : Tensor
        Binary cross-entropy of which kinds of source, echo and silence are there, in nats.
    places : Tensor
        Share of the variance of the first source's parameters that is not told, of those that can
        be heard: 1 for a network that knows nothing.
    """
    present = binary_cross_entropy_with_logits(heads.present(features), plan.present)
    used = plan.used
    off = (heads.places(features) - plan.places[:, 0]).square() * used
    return present, off.sum() / used.sum().clamp(min=1) / _VARIANCE


def contrast(heads: Heads, features: Tensor, temperature: float, sounding: Tensor) -> Tensor:
    """Compute how hard it is to find each sound's other rendering among all of a step's.

    NT-Xent (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020), the cross-entropy of picking it by the cosine of projections, but decoupled (Yeh et
    al., "Decoupled Contrastive Learning", ECCV 2022): the right one is not among those that it is
    held against, by which small batches lose less.

    Parameters
    ----------
    heads : Heads
    features : Tensor [shape=(2 n, features)]
        Of `n` sounds, then of their other renderings in the same order.
    temperature : float
        What cosines are divided by, as 0.1.
    sounding : Tensor [shape=(2 n,)], bool
        Which have a source. Those without share nothing with their other rendering: they are not
        looked for, but the others are held against them.

    Returns
    -------
    loss : Tensor
        In nats; the logarithm of ``2 n - 2`` for a network that knows nothing.
    """
    z = normalize(heads.project(features).float(), dim=1)
    alike = z @ z.T / temperature
    rows = torch.arange(len(z), device=z.device)
    right = alike[rows, rows.roll(len(z) // 2)]
    held_against = torch.ones_like(alike, dtype=torch.bool)
    held_against[rows, rows] = held_against[rows, rows.roll(len(z) // 2)] = False
    errors = alike.masked_fill(~held_against, -torch.inf).logsumexp(dim=1) - right
    return (errors * sounding).sum() / sounding.sum().clamp(min=1)
