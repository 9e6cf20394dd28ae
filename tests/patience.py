"""How much longer than on an idle machine a test waits before it fails: one factor for all deadlines.

A deadline in a test says that something happens at all, not how fast; a busy machine must fail none. A wait
that is met ends at once, so a large factor costs time only where a test fails.
"""

import os

FACTOR = float(os.environ.get("CLIPSPOOL_TEST_PATIENCE", "4"))


def patient(seconds):
    """Scale a deadline that suits an idle machine."""
    return seconds * FACTOR
