"""What the settings make of the page: nothing where it is off, else its door, its house and its thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from clipspool.bay import Bay
from clipspool.operator import conditions_of
from clipspool.scheduler import Asked, Scheduler
from clipspool.settings import Settings
from clipspool.signs import Signs
from clipspool.views import Conditions
from clipspool.web.door import Door
from clipspool.web.house import Entrance, House

if TYPE_CHECKING:
    from clipspool.web.server import Page

State = tuple[Mapping[str, Any], Conditions]


class Hosting:
    """The page, or none."""

    def __init__(self, settings: Settings) -> None:
        """Bind the page's socket, before anything is begun; raises CannotListen."""
        self._settings = settings
        self._door = None if settings.web.listen is None else Door(settings.web.listen)
        self._page: Page | None = None

    def open(
        self,
        scheduler: Scheduler,
        status: Callable[[Scheduler], Mapping[str, Any]],
        command: Callable[[str, Mapping[str, Any]], Any],
        bays: Callable[[], Mapping[str, Bay]],
        signs: Signs,
    ) -> None:
        """Begin to answer, and listen to the scheduler's news; `status` is asked in its thread."""
        if self._door is None:
            return
        # Late: it takes a quarter of a second, and most daemons have none.
        from clipspool.web.server import Page  # noqa: PLC0415

        def state() -> Future[State]:
            reply: Future[State] = Future()
            scheduler.hear(Asked(lambda one: (status(one), conditions_of(one)), reply))
            return reply

        web = self._settings.web
        token = None if web.token is None else web.token.get_secret_value()
        entrance = Entrance(token, is_near=web.is_near, must_log_in=web.must_log_in, hosts=web.hosts)
        house = House(
            self._settings.journal.path,
            state,
            command,
            bays,
            scheduler.now,
            metrics=signs.metrics.text,
            health=signs.health.look,
            count_wrong_token=signs.metrics.token_refused,
        )
        self._page = Page(self._door, house, entrance)
        scheduler.listen(self._page.listener)
        self._page.start()

    def close(self) -> None:
        """Answer no more."""
        if self._page is not None:
            self._page.stop()
        elif self._door is not None:
            self._door.close()
