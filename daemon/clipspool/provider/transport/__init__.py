"""Makes files readable for the provider: in the request itself, or at an address.

`way` defines what every way can do, and has the simplest; `depot` has the configured ones and chooses;
`bucket`, `folder` and `upload` are the others; `trial` tests one as the provider would use it.
"""

from clipspool.provider.transport.depot import Choice, Depot, choose
from clipspool.provider.transport.way import LIFE_SECONDS, Parcel, SecretNames, Way

__all__ = ["LIFE_SECONDS", "Choice", "Depot", "Parcel", "SecretNames", "Way", "choose"]
