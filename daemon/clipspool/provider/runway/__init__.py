"""The provider of today: Runway's API of the vendor and of its gateways, over requests.

`client` makes the calls. `post` sends the paid request: connected first, sent once, every byte counted;
`body` streams files into its JSON. `download` fetches results: resumed, limited, from public addresses only.
`answers` decides what an answer means, `refusals` whose fault a refusal is, `failures` why a render failed.
Connections, admitted addresses and limits are in `system/http`.
"""

from clipspool.provider.runway.client import Patience, Runway

__all__ = ["Patience", "Runway"]
