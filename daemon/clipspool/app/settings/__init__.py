"""What an operator can set: the keys, where they come from, and what is wrong with them in plain words.

`keys` and `inbox` hold the model, `sources` reads file, environment and credentials, `folders` compares the
configured folders with each other, `wording` turns every finding into a sentence, `reload` compares two
readings.
"""

from clipspool.app.locations import SettingsError, file_of, leave_note, noted_journal, places
from clipspool.app.settings.inbox import InboxSettings
from clipspool.app.settings.keys import Settings
from clipspool.app.settings.reload import changes
from clipspool.app.settings.secrets import Needs
from clipspool.app.settings.sources import load
from clipspool.app.settings.transport import BucketSettings

__all__ = [
    "BucketSettings",
    "InboxSettings",
    "Needs",
    "Settings",
    "SettingsError",
    "changes",
    "file_of",
    "leave_note",
    "load",
    "noted_journal",
    "places",
]
