"""What all tests share: a busy machine makes no random example fail."""

from hypothesis import settings

settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")
