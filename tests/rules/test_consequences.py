"""What is said before an order is given: what it may cost, and what may be lost."""

import pytest

from clipspool.jobs.consequences import consequences, price_of_all
from clipspool.jobs.model import Error, Held, Paid, Part, Result, State
from clipspool.jobs.nouns import replace
from fakes import a_job, a_task

LOST = "lost unless the provider refunds it."
LATER = "The clip is moved to _failed; you can retry the job later."


def job(**facts):
    return replace(a_job(), credits_estimated=15.0, **facts)


DONE = (Result(name="", file="r.mp4", size=1, sha256="0", suffix=".mp4"),)
HERE = job(state=State.FETCHED, held=Held.RESULT, results=DONE, paid=Paid.YES)
RENDERED_AND_CANCELLED = job(
    state=State.CANCELLED,
    error=Error("CANCELLED", "by ann"),
    task=replace(a_task(), succeeded=True),
    paid=Paid.YES,
)
CANCELLED_HERE = job(
    state=State.CANCELLED,
    error=Error("CANCELLED.NOT_AT_PROVIDER", "by ann"),
    task=a_task(),
    paid=Paid.UNKNOWN,
)
FREE = ["What was paid for is fetched, or joined once more. This costs nothing more."]


@pytest.mark.parametrize(
    ("act", "one", "said"),
    [
        ("retry", job(), ["It may cost about 15 credits."]),
        (
            "retry",
            job(paid=Paid.YES),
            ["It may cost about 15 credits.", "It was already charged, and would be charged again."],
        ),
        (
            "retry",
            job(paid=Paid.UNKNOWN, state=State.FAILED),
            [
                "It may cost about 15 credits.",
                "It may have been charged already, and would be charged again.",
            ],
        ),
        (
            "retry",
            job(paid=Paid.UNKNOWN, state=State.IN_DOUBT, held=Held.IN_DOUBT),
            [
                "It may cost about 15 credits.",
                (
                    "It may have been charged already: look for the task at the provider first; "
                    "if it exists, attach it instead."
                ),
            ],
        ),
        ("retry", RENDERED_AND_CANCELLED, FREE),
        (
            "retry",
            CANCELLED_HERE,
            ["Its task may go on at the provider, and is followed. This costs nothing more."],
        ),
        ("retry", replace(HERE, parts=(Part(1, 1, 0, 25, 0, "25/1"),)), FREE),
        ("cancel", job(), ["Nothing was charged for it yet.", LATER]),
        (
            "cancel",
            job(paid=Paid.UNKNOWN),
            [
                f"If it was already charged (about 15 credits), the money is {LOST}",
                LATER,
            ],
        ),
        (
            "cancel",
            job(paid=Paid.YES),
            [f"The money paid for its task (about 15 credits) is {LOST}", LATER],
        ),
        (
            "cancel",
            job(paid=Paid.YES, state=State.RENDERED, task=replace(a_task(), succeeded=True)),
            ["Its result is paid for: `retry` fetches it for nothing while the provider keeps it.", LATER],
        ),
        (
            "cancel",
            HERE,
            ["Results already downloaded are kept beside the source in _failed.", LATER],
        ),
        ("approve", HERE, ["Its result is delivered as it is. This costs nothing more."]),
        (
            "approve",
            job(held=Held.FROM_BACKUP),
            [
                "It will be sent to the provider and charged.",
                "It may cost about 15 credits.",
                "It comes from an older copy of the journal, and may have been paid for since.",
            ],
        ),
    ],
)
def test_what_an_order_for_one_job_may_cost_or_lose(act, one, said):
    assert consequences([one], act) == said


@pytest.mark.parametrize(
    ("held", "despite"),
    [
        (Held.BUDGET, ", despite the limit that holds it"),
        (None, ", despite the limit that holds it"),  # its inbox's hours, or the day's limit
        (Held.DUPLICATE, ", although it looks like a duplicate"),
        (Held.POISON, ", although clipspool crashed while working on it"),
        (Held.REFUSED, ", although the provider refused it before"),
        (Held.VETO, ", although the before_submit hook stopped it"),
    ],
)
def test_an_approval_says_what_it_passes_over(held, despite):
    assert consequences([job(held=held)], "approve") == [
        f"It will be sent to the provider and charged{despite}.",
        "It may cost about 15 credits.",
    ]


def test_what_was_sent_before_clipspool_crashed_over_it_is_not_said_to_be_charged_again():
    begun = job(state=State.RENDERED, held=Held.POISON, paid=Paid.YES)
    for act in ("approve", "retry"):  # either releases it
        assert consequences([begun], act) == ["It goes on where it stopped. This costs nothing more."]
        assert consequences([begun, job()], act) == [
            "1 goes on where it stopped, at no cost.",
            "1 job will be sent and charged: about 15 credits.",
        ]
        assert price_of_all([begun, job()], act) == 15.0
    assert price_of_all([begun, HERE, job()], "approve") == 15.0


def test_a_doubt_is_looked_up_before_it_is_paid_for_again():
    _, second = consequences([job(paid=Paid.UNKNOWN, state=State.IN_DOUBT, held=Held.IN_DOUBT)], "retry")
    assert second.startswith("It may have been charged already: look for the task at the provider first")


def test_the_results_that_are_here_are_delivered_before_a_job_ends():
    first, *_ = consequences([job(state=State.RENDERED, results=DONE, paid=Paid.YES)], "cancel")
    assert first == "Results already downloaded are delivered to the outbox first."


def test_of_several_jobs_the_sum_is_said_and_what_of_it_is_not_known():
    unknown = replace(job(paid=Paid.UNKNOWN), credits_estimated=None)
    assert consequences([job(), job(held=Held.FROM_BACKUP), unknown], "approve") == [
        "3 jobs will be sent and charged: about 30 credits, plus 1 of unknown price.",
        "1 of them may have been charged already, and would be charged again.",
        "1 of them may have been paid for since the older copy of the journal was made.",
    ]
    assert consequences([HERE, job(), job()], "approve") == [
        "1 will be delivered as downloaded, at no cost.",
        "2 jobs will be sent and charged: about 30 credits.",
    ]
    assert price_of_all([HERE, job(), job()], "approve") == 30
    assert price_of_all([HERE, job(), job()], "retry") == 45
    assert price_of_all([RENDERED_AND_CANCELLED, CANCELLED_HERE, job()], "retry") == 15
    assert consequences([RENDERED_AND_CANCELLED, CANCELLED_HERE, job(), job()], "retry") == [
        "2 will be followed, fetched, or joined once more, at no cost.",
        "2 jobs will be sent and charged: about 30 credits.",
    ]


def test_what_becomes_of_the_results_of_several_jobs_is_said():
    rendered = job(state=State.RENDERED, results=DONE, paid=Paid.YES)
    assert consequences([rendered, HERE, job(paid=Paid.UNKNOWN), job()], "cancel") == [
        "4 jobs will be cancelled.",
        "Results already downloaded for 1 of them are delivered first.",
        "Results of 1 of them are kept beside the source in _failed.",
        "The money paid for 1 of them is lost unless the provider refunds it.",
    ]
    assert consequences([job(), job()], "cancel")[1:] == ["Nothing was charged for them yet."]
