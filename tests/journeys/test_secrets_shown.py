"""A signed address or a key in a sidecar is sent as it stands, and shown nowhere."""

import urllib.request

import pytest

CANARY = "c4naryXq"
SIGNED = f"https://example.com/x.png?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}"
SENT = f'prompt = "winter, as in https://example.com/look?sig={CANARY}"\nreferences = ["{SIGNED}"]\n'
REFUSED = f"""\
prompt = "x"
[extra]
callback = "https://{CANARY}:{CANARY}@hooks.example.com/x"
apiKey = "{CANARY}"
deep = [{{ url = "https://example.com/y?token={CANARY}" }}]
"""
WRONG = f'prompt = "x"\nreferences = ["http://x.example.com/a?sig={CANARY}"]\nratio = "{SIGNED}"\n'


@pytest.mark.slow
def test_a_signed_address_is_sent_as_it_stands_and_shown_on_no_surface(bay):
    bay.is_checked = False  # the journal holds what is to be sent, and the oracle expects no signature there
    bay.configure(top='[web]\nlisten = "127.0.0.1:0"\n', keys="status_file = true\n")
    bay.start()
    for name, sidecar in (("sent", SENT), ("refused", REFUSED), ("wrong", WRONG)):
        bay.drop(f"{name}.mp4", sidecar)
    bay.until(lambda: list(bay.inbox.glob("*.problem.txt")), 20)
    bay.until_states("delivered", "failed", seconds=20)
    bay.until_retired(2)
    said = "".join(
        bay.call(*words).stdout
        for job in bay.jobs()
        for words in (("show", job), ("show", job, "--json"), ("logs", job), ("logs", job, "--json"))
    )
    said += "".join(
        bay.call(*words).stdout
        for words in (("jobs",), ("jobs", "--json"), ("status",), ("status", "--json"))
    )
    home = bay.events("page_served")[-1]["at"].rstrip("/")
    for path in ("/", "/jobs", *(f"/jobs/{job}" for job in bay.jobs()), "/metrics", "/healthz"):
        with urllib.request.urlopen(f"{home}{path}") as answer:
            said += answer.read().decode()
    assert bay.stop() == 0
    assert all(CANARY in row["request"] for row in bay.query("SELECT request FROM jobs")), "kept to be sent"
    assert CANARY not in said
    told = [
        path
        for path in bay.home.rglob("*")
        if path.suffix in {".txt", ".log"} or path.name.endswith((".mp4.toml", ".error.toml"))
    ]
    assert {"sent.mp4.toml", "refused.mp4.error.toml", "wrong.mp4.problem.txt", "_status.txt"} <= {
        path.name for path in told
    }
    assert [path.name for path in told if CANARY.encode() in path.read_bytes()] == []
