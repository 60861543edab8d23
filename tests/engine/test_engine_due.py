from types import SimpleNamespace

from abstraction_fakes import VirtualTimers

from clipper.engine.due import DueQueue


class World:
    def __init__(self):
        self.timers = VirtualTimers()
        self.due = []
        self.queue = DueQueue(self.timers, self._on_due)

    def push(self, after_s):
        item = SimpleNamespace(waiting=True, due_s=self.timers.now() + after_s)
        self.queue.push(item.due_s, item)
        return item

    def _on_due(self, item):
        item.waiting = False
        self.due.append(item)


def test_items_become_due_in_the_order_of_their_times():
    world = World()
    items = [world.push(after_s) for after_s in (0.03, 0.01, 0.02)]
    world.timers.advance(0.015)
    assert world.due == [items[1]]
    world.timers.advance(0.1)
    assert world.due == [items[1], items[2], items[0]]
    assert world.timers.pending == 0


def test_what_does_not_wait_any_more_is_not_due():
    world = World()
    gone, stays = world.push(0.01), world.push(0.02)
    gone.waiting = False
    world.timers.advance(0.1)
    assert world.due == [stays]


def test_what_is_over_long_before_its_time_is_not_kept():
    world = World()
    for _ in range(10_000):
        world.push(600.0).waiting = False
    assert len(world.queue) < 200
    stays = world.push(600.0)
    world.timers.advance(601.0)
    assert world.due == [stays]


def test_closed_nothing_becomes_due():
    world = World()
    world.push(0.01)
    world.queue.close()
    world.timers.advance(1)
    assert world.due == []
    assert world.timers.pending == 0
