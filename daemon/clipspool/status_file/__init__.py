"""`_status.txt` in an inbox: how things stand with its clips, in words that an editor understands.

`text.py` writes the words, `keeper.py` looks and keeps the file, in a thread of its own for each inbox.
"""

from clipspool.status_file.keeper import Kept, StatusFiles
from clipspool.status_file.text import STATUS_NAME, Picture, Seen, text_of

__all__ = ["STATUS_NAME", "Kept", "Picture", "Seen", "StatusFiles", "text_of"]
