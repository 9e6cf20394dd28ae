"""The provider we have: Runway's API as the vendor and its gateways speak it, over requests.

client.py     the calls
post.py       the paid POST: connected first, sent once, with a witness of every byte
body.py       its JSON, with files streamed into it
download.py   results: resumed, paced, never from a private address
answers.py    what an answer means; refusals.py whose trouble a no is; failures.py why a render failed
reply.py      an answer's many shapes made one; redact.py takes secrets out of it
wire.py       connections; guard.py which addresses may be reached; pace.py how long and how much
"""

from clipspool.provider.runway.client import Patience, Runway

__all__ = ["Patience", "Runway"]
