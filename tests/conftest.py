"""What all tests share: a busy machine makes no random example fail, and PostgreSQL ends with the session."""

import sys

from hypothesis import settings

settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")


def pytest_unconfigure():
    """Stop the session's PostgreSQL, where a test needed one."""
    if "postgres" in sys.modules:
        sys.modules["postgres"].release()
