"""Mail for the scheduler, also from a signal handler that interrupts the very thread that reads it."""

import sys
import threading
import time
from concurrent.futures import Future

import pytest

from clipspool.jobs import events as on
from clipspool.scheduler.mailbox import MESSAGES_MAX, Command, Mailbox
from clipspool.scheduler.workers import Done
from clipspool.system.process import Flag
from clipspool.system.signals import Signals
from patience import patient


def command():
    return Command(lambda _scheduler: None, Future())


def at_every_step(act, interrupt):
    """Call `interrupt` before each line that `act` runs, as a signal would; False where that hangs."""

    def trace(_frame, event, _argument):
        if event == "line":
            sys.settrace(None)
            interrupt()
            sys.settrace(trace)
        return trace

    def work():
        sys.settrace(trace)
        try:
            act()
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patient(2.0))
    return not thread.is_alive()


@pytest.mark.parametrize(
    "act",
    [
        Mailbox.receive,
        lambda box: box.rest(0.0, 0.001),
        lambda box: box.sleep(0.001),
        lambda box: box.put(command()),
    ],
)
def test_a_signal_handler_may_post_whatever_the_thread_it_interrupts_does_with_the_mailbox(act):
    box = Mailbox()
    assert at_every_step(lambda: act(box), lambda: box.put(command()))


@pytest.mark.parametrize("act", [Flag.clear, Flag.set, lambda flag: flag.wait(0.001)])
def test_a_flag_may_be_set_by_a_signal_handler_whatever_the_thread_it_interrupts_does_with_it(act):
    flag = Flag()
    assert at_every_step(lambda: act(flag), flag.set)


def test_signals_that_come_while_others_are_handled_stop_nothing():
    signals = Signals(lambda: None)
    handlers = (lambda: signals._stop(15, None), lambda: signals._hang_up(1, None))

    def both():
        for handle in handlers:
            handle()

    assert at_every_step(signals.wants_reload, both)
    assert at_every_step(lambda: signals.stopping.wait(0.001), both)
    assert signals.stopping.is_set()
    assert signals.wants_reload()
    assert not signals.wants_reload()


def test_what_is_urgent_ends_a_rest_and_what_is_not_waits_for_the_turn():
    box = Mailbox()
    box.put(Done("a", None, "1"))
    assert box.rest(0.0, 30.0)
    assert len(box.receive()) == 1
    assert not box.rest(0.0, 0.0)
    began = time.monotonic()
    box.put(Done("a", on.TaskSeen("RUNNING", rendering=True), "2"))
    assert box.rest(0.0, 0.05)  # it is received all the same, after the rest
    assert time.monotonic() - began >= 0.05


def test_a_turn_takes_so_many_messages_and_the_next_one_follows_at_once():
    box = Mailbox()
    for _ in range(MESSAGES_MAX + 1):
        box.put(command())
    assert len(box.receive()) == MESSAGES_MAX
    assert box.rest(0.0, 30.0)
    assert len(box.receive()) == 1
    assert box.is_empty


def test_a_message_ends_a_sleep_and_is_received():
    box = Mailbox()
    timer = threading.Timer(0.02, lambda: box.put(command()))
    timer.start()
    box.sleep(30.0)
    assert not box.is_empty
    assert len(box.receive()) == 1
    timer.join()
