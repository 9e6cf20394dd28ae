"""Which provider follows a task, by the address and key that made it."""

import pytest

from clipspool.app.build import follows
from clipspool.provider.addresses import OneAccount

FIRST, SECOND, FORMER = "https://one.test/v1", "https://two.test/v1", "https://former.test/v1"


class At:
    def __init__(self, address):
        self.profile = f"{address}#key1"


@pytest.mark.parametrize(
    ("profile", "addresses", "expected"),
    [
        (f"{FIRST}#key1", [FIRST], FIRST),
        (f"{FIRST}#key0", [FIRST], FIRST),  # another key of the same provider may see the task
        (f"{FORMER}#key1", [FIRST], FORMER),
        (f"{FORMER}#key0", [FIRST], None),  # this key is not shown to a stranger
        (f"{FORMER}#key1", [FIRST, SECOND], FORMER),
        (f"{FORMER}#key0", [FIRST, SECOND], None),
        (f"{SECOND}#key0", [FIRST], None),
        ("", [FIRST, SECOND], None),
        (f"{FIRST}#key1", [FIRST, SECOND], "account"),
        (f"{SECOND}#key0", [FIRST, SECOND], "account"),
    ],
)
def test_a_key_goes_only_to_addresses_that_its_operator_named_for_it(profile, addresses, expected):
    current, made = At(FIRST), {}
    found = follows(lambda: current, lambda address: made.setdefault(address, At(address)), addresses)(
        profile
    )
    if expected == "account":
        assert isinstance(found, OneAccount)
        assert set(made) == {SECOND}
    else:
        assert (found and found.profile.partition("#")[0]) == expected
        assert set(made) <= {expected}


def test_a_task_of_a_former_address_is_followed_by_the_key_that_made_it_alone():
    current = At(SECOND)
    follow = follows(lambda: current, At, [FIRST])
    assert follow(f"{FIRST}#key0") is None
