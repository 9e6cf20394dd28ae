"""`_status.txt` in an inbox: how things stand with its clips, in words that an editor understands.

`text.py` writes the words, `own.py` tells whose file is whose, `keeper.py` keeps ours, a thread an inbox.
"""

from clipspool.jobs.status_names import STATUS_NAME
from clipspool.reporting.status_file.keeper import Kept, StatusFiles
from clipspool.reporting.status_file.text import Picture, Seen, text_of

__all__ = ["STATUS_NAME", "Kept", "Picture", "Seen", "StatusFiles", "text_of"]
