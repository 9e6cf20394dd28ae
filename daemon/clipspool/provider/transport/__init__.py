"""How a file becomes something that the provider can read: in the request itself, or at an address.

`way` says what every way can do, `depot` holds those that are configured and chooses; `inline`, `bucket`,
`folder` and `upload` are the ways; `trial` tries one as the provider would.
"""

from clipspool.provider.transport.depot import Choice, Depot, choose
from clipspool.provider.transport.way import LIFE_SECONDS, Names, Parcel, Way

__all__ = ["LIFE_SECONDS", "Choice", "Depot", "Names", "Parcel", "Way", "choose"]
