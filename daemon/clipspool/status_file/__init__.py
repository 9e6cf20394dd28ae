"""`_status.txt` in an inbox: how things stand with its clips, in words that an editor understands.

`text.py` writes the words, `own.py` tells whose file is whose, `keeper.py` keeps ours, a thread an inbox.
"""

from clipspool.status_file.keeper import Kept, StatusFiles
from clipspool.status_file.text import Picture, Seen, text_of
from clipspool.status_names import STATUS_NAME

__all__ = ["STATUS_NAME", "Kept", "Picture", "Seen", "StatusFiles", "text_of"]
