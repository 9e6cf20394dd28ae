"""clipspool: drop a clip and a sidecar in a folder, find the rendered video in another.

The way of a clip, and the file that holds each step:

    a file in an inbox     intake/inbox.py    hears events and rescans: what came, changed, went
                           intake/settle.py   has it stopped changing?
                           intake/pair.py     which sidecar and which defaults are its own
                           intake/examine.py  is all well with it? else a note says what is not
                           intake/accept.py   one rename into a work folder (work.py), and it is ours
    a job in the journal   journal/           jobs as they are now, and all that ever happened to them
                           scheduler.py       the one thread: hear, record, pick; let out after the commit
                           lifecycle.py       which event leads from which state to which
                           picking.py         who goes next; pacing.py, durations.py: when again
                           brake.py           what holds all back; spending.py: what the day has cost
    its stages             stages/prepare.py  read whole, made to fit (media/), put on its way (transport/)
                           stages/submit.py   the one paid request: connected, intent on disk, then the bytes
                           departures.py      which requests had not left yet when the process died
                           stages/poll.py     looks at the task
                           stages/fetch.py    results, verified before they count; finish.py for the timeline
                           stages/deliver.py  provenance first, then the film, each whole or not there
    a result in an outbox  retiring.py        the way out, once all its jobs have ended
                           stages/retire.py   the source to `_done` or `_failed`

`app.py` builds all of it; `answering.py` and `operator.py` serve the commands (cli/) and the page (web/).
`provider.py` is what is asked of any provider, `runway/` the one there is, `sandbox/` its stand-in.
"""

__version__ = "0.1.0"
