"""`_status.txt` in an inbox: the status of its clips, in words that an editor understands.

`text` writes the text, `own` finds out which file is ours, `keeper` keeps it, in a thread for each inbox.
"""

from clipspool.jobs.text import STATUS_NAME
from clipspool.reporting.status_file.keeper import Kept, StatusFiles
from clipspool.reporting.status_file.text import EndedJob, FolderStatus, text_of

__all__ = ["STATUS_NAME", "EndedJob", "FolderStatus", "Kept", "StatusFiles", "text_of"]
