"""Listening for months: sources that come back, alerts that arrive, and proof that it hears.

::

    sources/    sound comes in: a pipe, ffmpeg, a microphone; each with one supervisor
    hearing/    one source's sound becomes windows, and windows become events
    listener    all sources together: events become messages, evidence and counts
    delivery/   an outbox on disk, and what takes messages out of it
    evidence/   clip, picture and facts of an event, under a quota
    watch/      proof of hearing, and the contract on false alarms
    health/     heartbeat, /healthz, /metrics

Every part is stepped by whoever holds the clock: by threads (:mod:`.runner`), or by a test that
lets a week pass in a minute.
"""
