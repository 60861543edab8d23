"""The no-op model behind Mosec's dynamic batching, with the settings that `servers.MOSEC_SETTINGS` documents."""

import os

from mosec import Server, Worker


class NoOp(Worker):
    """Answers every query of a batch with 0."""

    def forward(self, data: list[dict[str, list[float]]]) -> list[int]:  # noqa: D102  # Mosec's
        return [0] * len(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        NoOp,
        num=int(os.environ["BENCH_MOSEC_WORKERS"]),
        max_batch_size=int(os.environ["BENCH_MOSEC_MAX_BATCH_SIZE"]),
        max_wait_time=int(os.environ["BENCH_MOSEC_MAX_WAIT_MS"]),
    )
    server.run()
