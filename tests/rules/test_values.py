"""Our dataclasses behave as the standard library's."""

import copy
import dataclasses
import pickle

import pytest

from clipspool.jobs.values import dataclass


def define(decorator, name):
    class Value:
        """A value."""

        first: int
        second: tuple[int, ...] = (2,)
        third: list[int] = dataclasses.field(default_factory=list)
        hidden: str = dataclasses.field(default="secret", repr=False, compare=False)

    Value.__name__, Value.__qualname__ = name, name
    return decorator(frozen=True, slots=True)(Value)


OURS, THEIRS = define(dataclass, "Ours"), define(dataclasses.dataclass, "Theirs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child(OURS):
    fourth: str = "4"

    def __repr__(self):
        return "mine"


@dataclass(frozen=True, slots=True)
class Empty:
    pass


def test_a_value_is_made_shown_compared_and_copied_as_the_library_does_it():
    for kind in (OURS, THEIRS):
        one = kind(1, third=[3])
        assert repr(one) == f"{kind.__name__}(first=1, second=(2,), third=[3])"
        assert (one.hidden, kind(1).third, kind(1).third is kind(1).third) == ("secret", [], False)
        assert one == kind(1, (2,), [3], "other")
        assert one != kind(2, third=[3])
        assert dataclasses.replace(one, first=5) == kind(5, third=[3])
        assert dataclasses.astuple(one) == (1, (2,), [3], "secret")
        assert kind.__match_args__ == ("first", "second", "third", "hidden")
        with pytest.raises(TypeError, match="__init__"):
            kind()
    assert OURS(1) != THEIRS(1)


def test_a_value_does_not_change():
    for kind in (OURS, THEIRS):
        one = kind(1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.first = 2
        with pytest.raises(dataclasses.FrozenInstanceError):
            del one.first
        with pytest.raises((AttributeError, TypeError)):
            one.fifth = 5
        assert one.first == 1


def test_equal_values_have_one_hash():
    assert hash(Empty()) == hash(Empty())
    assert Empty() == Empty()
    assert len({OURS(1, third=()), OURS(1, third=(), hidden="x"), OURS(2, third=())}) == 2
    with pytest.raises(TypeError):
        hash(OURS(1))


def test_a_child_has_its_parents_fields_and_methods_of_its_own():
    one = Child(first=1, fourth="5")
    assert (one.first, one.second, one.fourth, repr(one)) == (1, (2,), "5", "mine")
    with pytest.raises(TypeError):
        Child(1, (2,), [], "", "5")
    assert copy.deepcopy(one) == copy.copy(one) == one
    assert pickle.loads(pickle.dumps(Empty())) == Empty()


def test_other_kinds_are_the_librarys():
    with pytest.raises(TypeError):
        dataclass(frozen=False, slots=True)
