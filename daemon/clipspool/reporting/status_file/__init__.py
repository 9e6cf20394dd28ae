"""`_status.txt` in an inbox: the status of its clips, in words that an editor understands.

`text` writes the text, `own` finds out which file is ours, `keeper` keeps it, in a thread for each inbox.
"""

from clipspool.reporting.status_file.keeper import Kept, StatusFiles

__all__ = ["Kept", "StatusFiles"]
