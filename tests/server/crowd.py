"""Clients that give feedback in every way there is, and remember what the server told them."""

import itertools
import threading
from typing import Any, Self

import httpx
from server_process import WAIT_S, until


class Crowd:
    """Each client asks, and says what was right, as fast as it is answered, until its connection breaks.

    Every label is another number, so a line of the log tells which feedback it is. ``given`` has what was ever sent,
    by label; ``acknowledged`` the labels that the server said to have counted.
    """

    def __init__(self, app: str, clients: int = 6) -> None:
        self.given: dict[int, dict[str, Any]] = {}
        self.acknowledged: set[int] = set()
        self._app = app
        self._clients = clients
        self._labels = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()

    def start(self, query_url: str) -> Self:
        """Go to this server."""
        self._over.clear()
        self._threads = [
            threading.Thread(target=self._go_on, args=(query_url, number)) for number in range(self._clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def acknowledged_further(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= wanted, f"{count} more pieces of feedback are acknowledged")

    def join(self) -> None:
        """Wait for clients whose server is gone."""
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def send_again(self, query_url: str, labels: list[int]) -> list[int]:
        """The status of each, sent alone. What is counted now, or was before, is acknowledged from here on."""
        with httpx.Client(base_url=query_url, timeout=WAIT_S) as client:
            replies = [client.post(f"/{self._app}/update", json=self.given[label]) for label in labels]
        for label, reply in zip(labels, replies, strict=True):
            assert reply.status_code in {200, 409}, reply.text
            self.acknowledged.add(label)
        return [reply.status_code for reply in replies]

    def _go_on(self, query_url: str, number: int) -> None:
        ways = itertools.cycle([self._by_query_id, self._by_input, self._in_a_list])
        with httpx.Client(base_url=query_url, timeout=WAIT_S) as client:
            try:
                while not self._over.is_set():
                    next(ways)(client, number)
            except httpx.TransportError:
                return

    def _by_query_id(self, client: httpx.Client, number: int) -> None:
        body = {"input": [number], "uid": f"user-{number % 3}"}
        query_id = client.post(f"/{self._app}/predict", json=body).json()["query_id"]
        self._update(client, {"query_id": query_id})

    def _by_input(self, client: httpx.Client, number: int) -> None:
        self._update(client, {"input": [number], "uid": f"user-{number % 3}"})

    def _in_a_list(self, client: httpx.Client, number: int) -> None:
        body = {"input_batch": [[number], [number + 0.5]]}
        answers = client.post(f"/{self._app}/predict", json=body).json()["batch_predictions"]
        updates = [self._labelled({"query_id": answer["query_id"]}) for answer in answers]
        reply = client.post(f"/{self._app}/update", json={"updates": updates})
        if reply.status_code == 200 and "rejected" not in reply.json():
            self.acknowledged |= {update["label"] for update in updates}

    def _update(self, client: httpx.Client, feedback: dict[str, Any]) -> None:
        feedback = self._labelled(feedback)
        if client.post(f"/{self._app}/update", json=feedback).status_code == 200:
            self.acknowledged.add(feedback["label"])

    def _labelled(self, feedback: dict[str, Any]) -> dict[str, Any]:
        label = next(self._labels)
        again = {} if "query_id" in feedback else {"update_id": str(label)}
        self.given[label] = feedback | again | {"label": label}
        return self.given[label]
