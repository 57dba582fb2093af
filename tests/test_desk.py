"""The desk: one at a time, few wait, results go, and nothing is torn at the end."""

import contextlib
import threading

import pytest

from util.serve.desk import Desk, Dropped, Refused


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Worker:
    """What is done with tickets: noted, and held up until it may go on."""

    def __init__(self, go=True):
        self.go, self.begun, self.done = threading.Event(), threading.Semaphore(0), []
        if go:
            self.go.set()

    @contextlib.contextmanager
    def __call__(self):
        yield self._work

    def _work(self, ticket):
        self.begun.release()
        assert self.go.wait(30)
        if ticket.is_dropped:
            raise Dropped
        (ticket.folder / "made").write_text("made")
        self.done.append(ticket.id)


@pytest.fixture
def desk_of(tmp_path):
    """Return a function: worker, ... -> a desk that works, and is closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(worker, **how):
            desk = Desk(worker, tmp_path, **how)
            desk.start()
            stack.callback(desk.close)
            while not (desk.is_ready or desk.failure):
                threading.Event().wait(0.002)
            return desk

        yield make


def queued(desk, count=1):
    tickets = [desk.new() for _ in range(count)]
    for ticket in tickets:
        desk.queue(ticket)
    return tickets


def test_tickets_are_seen_to_in_turn(desk_of):
    worker = Worker(go=False)
    desk = desk_of(worker)
    (first,) = queued(desk)
    assert worker.begun.acquire(timeout=10)
    others = queued(desk, 3)
    assert [ticket.state for ticket in (first, *others)] == ["working", *["waiting"] * 3]
    assert [desk.place(ticket) for ticket in others] == [1, 2, 3]
    worker.go.set()
    assert others[-1].ended.wait(10)
    assert worker.done == [ticket.id for ticket in (first, *others)]
    assert len(set(worker.done)) == 4
    assert {ticket.state for ticket in (first, *others)} == {"done"}


def test_four_wait_and_the_next_is_told_when_to_come_again(desk_of):
    worker = Worker(go=False)
    desk = desk_of(worker)
    queued(desk)
    assert worker.begun.acquire(timeout=10)
    waiting = queued(desk, 4)
    with pytest.raises(Refused) as refused:
        queued(desk)
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry_After"]) >= 1
    worker.go.set()
    assert all(ticket.ended.wait(10) for ticket in waiting)
    queued(desk)


def test_only_so_many_results_stay_and_only_so_long(desk_of, tmp_path):
    clock = Clock()
    desk = desk_of(Worker(), clock=clock, kept=3, kept_s=60)
    tickets = []
    for _ in range(5):
        tickets += queued(desk)
        assert tickets[-1].ended.wait(10)
        clock.now += 1
    with pytest.raises(Refused, match="no such picture"):
        desk.find(tickets[0].id)
    assert [desk.find(ticket.id) for ticket in tickets[2:]] == tickets[2:]
    assert {p.name for p in tmp_path.iterdir()} == {ticket.id for ticket in tickets[2:]}
    clock.now += 57.5
    with pytest.raises(Refused):
        desk.find(tickets[2].id)
    assert {p.name for p in tmp_path.iterdir()} == {ticket.id for ticket in tickets[3:]}


def test_what_is_dropped_leaves_nothing_whether_it_waits_or_is_in_hand(desk_of, tmp_path):
    worker = Worker(go=False)
    desk = desk_of(worker)
    (in_hand,) = queued(desk)
    assert worker.begun.acquire(timeout=10)
    waits, last = queued(desk, 2)
    desk.drop(waits)
    desk.drop(in_hand)
    assert waits.ended.is_set()  # whoever waits for it does so no longer
    with pytest.raises(Refused):
        desk.find(in_hand.id)
    worker.go.set()
    assert last.ended.wait(10)
    assert worker.done == [last.id]
    assert [p.name for p in tmp_path.iterdir()] == [last.id]


def test_what_goes_wrong_is_told_without_saying_how(desk_of, capsys):
    @contextlib.contextmanager
    def load():
        def work(ticket):
            raise RuntimeError("the secret place of a file")

        yield work

    desk = desk_of(load)
    (ticket,) = queued(desk)
    assert ticket.ended.wait(10)
    assert (ticket.state, ticket.error.status) == ("failed", 500)
    assert "secret" not in ticket.error.text
    assert "the secret place of a file" in capsys.readouterr().err


def test_closing_finishes_the_picture_in_hand_and_refuses_what_waits(desk_of):
    worker = Worker(go=False)
    desk = desk_of(worker)
    (in_hand,) = queued(desk)
    assert worker.begun.acquire(timeout=10)
    (waits,) = queued(desk)
    closing = threading.Thread(target=desk.close)
    closing.start()
    assert waits.ended.wait(10)
    assert waits.error.status == 503
    with pytest.raises(Refused, match="being stopped"):
        queued(desk)
    assert closing.is_alive()
    worker.go.set()
    closing.join(10)
    assert in_hand.state == "done"
    assert not desk.is_alive


def test_who_asks_from_time_to_time_is_waited_for_at_the_end(desk_of):
    worker, clock = Worker(), Clock()
    desk = desk_of(worker, clock=clock)

    def shown():
        ticket = desk.new()
        ticket.shown = True
        desk.queue(ticket)
        return ticket

    assert shown().ended.wait(10)
    clock.now += 100
    just = shown()
    assert just.ended.wait(10)
    worker.go.clear()
    in_hand, waits, gone = [shown() for _ in range(3)]
    closing = threading.Thread(target=desk.close)
    closing.start()
    assert gone.ended.wait(10)
    worker.go.set()
    closing.join(10)
    desk.drop(gone)
    for ticket in (waits, just, in_hand):
        clock.now += 100
        assert desk.is_waited_for
        desk.told(ticket)
    assert desk.is_waited_for  # it may want the opacity, too
    clock.now += 3
    assert not desk.is_waited_for


def test_a_network_that_cannot_be_loaded_is_known_to_who_started_it(desk_of):
    error = ValueError("no network")

    @contextlib.contextmanager
    def load():
        raise error
        yield

    desk = desk_of(load)
    assert desk.failure is error
    with pytest.raises(Refused):
        queued(desk)
