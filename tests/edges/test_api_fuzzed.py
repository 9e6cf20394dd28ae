"""What the document promises holds for requests that nobody wrote by hand."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from clipspool.web import sessions
from clipspool.web.context import AccessRules, Token
from pages import BEARER, TOKEN, Stage, clip_doors

pytestmark = pytest.mark.slow
WITHOUT_END = "/events"
"""A stream has no end to wait for."""
HOW = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    sessions._TRIES_MAX, before = 1_000_000, sessions._TRIES_MAX
    stage = Stage(tmp_path_factory.mktemp("fuzzed"))
    stage.deliver("clip1")
    stage.answer = lambda _do, _given: [{"id": "clip1", "done": True}]
    access = AccessRules((Token(TOKEN),), is_near=False, must_log_in=True)
    with stage.open(access, clips=clip_doors(stage)) as web:
        yield stage, "http://{}:{}".format(*web.address)
    stage.journal.close()
    sessions._TRIES_MAX = before


def test_no_request_breaks_the_interface_and_each_answer_is_as_described(served):
    # Here, since every worker collects this module and few run it.
    import schemathesis  # noqa: PLC0415
    from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: PLC0415

    stage, address = served
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json", headers=BEARER)
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(WITHOUT_END):
            continue
        tried.add(operation.label)

        @HOW
        @given(case=operation.as_strategy())
        def run(case):
            case.call_and_validate(
                base_url=address, headers=BEARER, excluded_checks=[positive_data_acceptance]
            )

        run()
    assert len(tried) > 15
    inside = {path.relative_to(stage.home).parts[0] for path in stage.home.rglob("*")}
    assert inside == {"bay", "results", "private", "journal.db", "journal.db-wal", "journal.db-shm"}
