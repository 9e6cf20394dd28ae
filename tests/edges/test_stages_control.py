"""From a command to the running daemon and back, over a real socket."""

import json
import socket
import stat
import threading

import pytest

from clipspool.app.control import CommandFailed, ControlSocket, NoDaemon, ask, socket_of


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def listen(journal):
    made = []

    def listen(answer):
        made.append(ControlSocket(socket_of(journal), answer))
        made[-1].start()
        return made[-1]

    yield listen
    for listener in made:
        listener.stop()


def echo(do, arguments):
    return {"did": do, **arguments}


def test_a_command_is_answered(journal, listen):
    listen(echo)
    assert ask(journal, "retry", ids=["a", "b"], by="ann") == {"did": "retry", "ids": ["a", "b"], "by": "ann"}


def test_names_and_large_answers_come_through(journal, listen):
    listen(lambda _do, arguments: [arguments["name"]] * 50_000)
    assert ask(journal, "x", name="caf\udce9 \U0001f40d") == ["caf\udce9 \U0001f40d"] * 50_000


def test_what_the_daemon_cannot_do_is_told_in_its_words(journal, listen):
    def refuse(_do, _arguments):
        raise ValueError("there is no such job")

    listen(refuse)
    with pytest.raises(CommandFailed, match="there is no such job"):
        ask(journal, "retry")
    with pytest.raises(CommandFailed, match="there is no such job"):
        ask(journal, "retry")


def test_without_a_daemon_it_says_so(journal):
    with pytest.raises(NoDaemon):
        ask(journal, "status")


def test_a_socket_that_a_killed_daemon_left_is_nobodys(journal, listen):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_of(journal)))
    with pytest.raises(NoDaemon):
        ask(journal, "status")
    listen(echo)
    assert ask(journal, "status") == {"did": "status"}


def test_a_daemon_that_stopped_leaves_no_socket(journal, listen):
    listen(echo).stop()
    assert not socket_of(journal).exists()
    with pytest.raises(NoDaemon):
        ask(journal, "status")


def test_only_the_daemons_user_and_group_may_command(journal, listen):
    listen(echo)
    assert stat.S_IMODE(socket_of(journal).stat().st_mode) == 0o660


def test_a_path_longer_than_an_address_is_reached(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    listener = ControlSocket(socket_of(folder / "journal.db"), echo)
    listener.start()
    assert ask(folder / "journal.db", "status") == {"did": "status"}
    monkeypatch.chdir(tmp_path)
    listener.stop()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"no json\n", b"5\n", b'{"do": "x"}\n', b'{"do": "x", "with": 5}\n', b"[" * 90_000]
)
def test_nonsense_harms_nobody(journal, listen, line):
    listen(echo)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_of(journal)))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        assert "failed" in json.loads(client.makefile().readline())
    assert ask(journal, "status") == {"did": "status"}


def test_many_commands_at_once_are_answered_each(journal, listen):
    listen(echo)
    answers = []
    threads = [
        threading.Thread(target=lambda n=number: answers.append(ask(journal, "x", number=n)["number"]))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(8))


def test_a_client_that_leaves_without_reading_harms_nobody(journal, listen):
    listen(lambda *_: "x" * 1_000_000)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_of(journal)))
        client.sendall(b'{"do": "x", "with": {}}\n')
    assert len(ask(journal, "x")) == 1_000_000
