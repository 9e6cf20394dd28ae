"""clipspool: drop a clip and a sidecar in a folder, find the rendered video in another.

The way of a clip, and the room that holds each step:

    a file in an inbox     intake/inbox            one thread an inbox: scans, and has files judged
                           intake/watch, scan      file-system events are hints, the rescan is the truth
                           intake/settle           waits until a file has stopped changing
                           intake/triage           judges the files of one name, by the next three
                           intake/pair, sidecar/   finds its sidecar and defaults, and reads them
                           intake/examine, media/  checks that it is whole; a note says what is wrong
                           intake/accept           spool/claims renames it into a work folder: accepted
    a job in the journal   journal/                jobs as they are now, and every event for ever
                           scheduler/loop          the one thread: hear, record, pick; commit, then hand out
                           jobs/events             what happens to a job, in the past tense
                           jobs/lifecycle          which event leads from which state to which
                           jobs/effects            what else it changes of the job
                           jobs/effects_paid       the same for the paid request, its task and its doubts
                           scheduler/selection     what goes next, within budget, limits and pauses
    its stages             scheduler/workers       threads, each with one stage of one job at a time
                           stages/runner           runs the stage, with folders, provider and decoder
                           stages/prepare          made to fit (media/), put where the provider can read it
                           stages/submit           the one paid request: connect, record the intent, send
                           stages/poll             looks at the task
                           stages/fetch            downloads and verifies results; finish, for the timeline
                           stages/deliver          publishes provenance first, then the video, each whole
    a result in an outbox  scheduler/retirement    when all jobs of a clip have ended
                           stages/retire           moves the source to `_done` or `_failed`

Arrows between rooms go down only, in this order: cli, app, web, reporting, farm, scheduler and stages, intake
and provider, journal, spool and media, system, jobs. `app/` builds the daemon and connects its parts; `web/`
and `cli/` show it and pass orders on; `reporting/` tells people and monitors; `farm/` lets several machines
share one journal. `runway_sandbox`, beside this package, stands in for the provider.
"""

__version__ = "0.2.0"
