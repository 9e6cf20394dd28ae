"""What the settings make of the page: nothing where it is off, else its door, its house and its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipspool.scheduler import Scheduler
from clipspool.settings import Settings
from clipspool.web.door import Door
from clipspool.web.house import Entrance, House

if TYPE_CHECKING:
    from clipspool.web.server import Page

ANSWER_SECONDS = 5.0
"""How long the page waits for the scheduler before it shows what it last knew."""


class Hosting:
    """The page, or none."""

    def __init__(self, settings: Settings) -> None:
        """Bind the page's socket, before anything is begun; raises CannotListen."""
        self._web = settings.web
        self._door = None if self._web.listen is None else Door(self._web.listen)
        self._page: Page | None = None

    def open(self, house: House, scheduler: Scheduler) -> None:
        """Begin to answer, and listen to the scheduler's news."""
        if self._door is None:
            return
        # Late: it takes a quarter of a second, and most daemons have none.
        from clipspool.web.server import Page  # noqa: PLC0415

        web = self._web
        token = None if web.token is None else web.token.get_secret_value()
        entrance = Entrance(token, is_near=web.is_near, must_log_in=web.must_log_in, hosts=web.hosts)
        self._page = Page(self._door, house, entrance)
        scheduler.listen(self._page.listener)
        self._page.start()

    def close(self) -> None:
        """Answer no more."""
        if self._page is not None:
            self._page.stop()
        elif self._door is not None:
            self._door.close()
