"""Whether all is well, and the line that says how it goes."""

from __future__ import annotations

from typing import Any

from spectro.listening.live.stats import ListenerStats, SourceStats

__all__ = ["health", "heartbeat", "problems"]

_STUCK = 3_600.0  # s that a message may be under way


def problems(stats: ListenerStats, now: float) -> list[str]:
    """Return what is wrong, in words; nothing if all is well.

    Parameters
    ----------
    stats : ListenerStats
    now : float
        Seconds since 1970.
    """
    found = [
        f"{name}: {wrong}"
        for name, source in stats.sources.items()
        for wrong in (source.deaf or source.stuck(now), source.behind(now))
        if wrong
    ]
    found += [f"{source}: {text}" for (source, _), text in stats.unheard.items()]
    if stats.disk:
        found.append(f"outbox: {stats.disk}")
    for channel, why in stats.refused.items():
        found.append(f"{channel}: refuses messages, {stats.aside[channel]} set aside: {why}")
    for channel, oldest in stats.oldest.items():
        if oldest and now - oldest > _STUCK:
            found.append(f"{channel}: {stats.waiting[channel]} messages wait, the first for "
                         f"{(now - oldest) / 3600:.1f} h")  # fmt: skip
    return found


def health(stats: ListenerStats, now: float) -> dict[str, Any]:
    """Return what /healthz says."""
    wrong = problems(stats, now)
    sources = {
        name: {
            "up": one.up,
            "fault": one.fault,
            "level_dbfs": round(one.level, 1) if abs(one.level) < 1e9 else None,
            "last_audio_seconds_ago": round(now - one.last_audio, 1) if one.last_audio else None,
            "dropped_seconds": round(one.dropped, 1),
            "queued_seconds": round(one.queued, 1),
        }
        for name, one in stats.sources.items()
    }
    return {
        "status": "failing" if wrong else "ok",
        "problems": wrong,
        "sources": sources,
        "messages_waiting": dict(stats.waiting),
        "drifting": dict(stats.drifting),
    }


def heartbeat(stats: ListenerStats, now: float) -> str:
    """Say in one line how it goes."""
    parts = [_of_source(name, one, now) for name, one in stats.sources.items()]
    parts.append(f"{stats.inference.number} windows of {1000 * stats.inference.mean:.1f} ms")
    parts.append(f"{stats.events.total()} events")
    waiting = stats.waiting.total()
    if stats.waiting:
        parts.append(f"{waiting} messages wait" if waiting else "all messages delivered")
    return ", ".join(parts)


def _of_source(name: str, one: SourceStats, now: float) -> str:
    if wrong := one.deaf or one.stuck(now):
        return f"{name} FAULT ({wrong})"
    if one.finished:
        return f"{name} ended"
    dropped = f", {one.dropped:.0f} s dropped" if one.dropped else ""
    return f"{name} {one.level:.0f} dBFS{dropped}"
