"""An account whose credits do not cover the model that was asked for, and a cheaper one that they do."""

import tomllib

from journeys.bay import make_clip
from runway_sandbox.render import sample

KEYS = '[models.aleph2]\nfallback = ["gen4_aleph"]'


def test_a_clip_goes_to_the_model_that_the_account_covers_and_others_wait(open_bays, tmp_path):
    two_seconds = tmp_path / "two.mp4"
    sample(two_seconds, seconds=2.0, width=640, height=480)
    with open_bays(credits=40) as bay:  # aleph2 costs 56 for two seconds, gen4_aleph 30
        bay.configure(top=KEYS)
        bay.start()
        for name in ("first.mp4", "second.mp4"):
            sidecar = 'prompt = "winter"\nmodel = "aleph2"\n'
            bay.drop(name, sidecar, make_clip(two_seconds, name))
        bay.until_states("delivered", "queued", seconds=40)
        assert bay.paid == 1
        (create,) = bay.box.ledger.creates
        assert create.model == "gen4_aleph"
        (done,) = [one for one in bay.told("jobs") if one["state"] == "delivered"]
        told = tomllib.loads((bay.outbox / f"{done['clip']}.toml").read_text())["result"]
        assert told["instead_of"] == "aleph2"
        why = "aleph2 costs about 56 credits, and the account has 40: gen4_aleph is used instead"
        assert why in " ".join(bay.call("show", done["id"]).stdout.split())
        assert [one["why"] for one in bay.events("fell_back")] == [why]
        blocked = bay.told("status")["provider"]
        assert blocked["blocked"]
        assert "credits" in blocked["reason"].lower()
