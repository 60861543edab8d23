"""The connection for ordinary programs: every call blocks until it is answered."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from clipper.client.blocking_pool import BlockingPool
from clipper.client.http import (
    BROKEN,
    DEFAULT_CONNECT_TIMEOUT_S,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_TIMEOUT_S,
    check_limits,
    client_options,
    failures_as_ours,
    open_session,
    payload,
    url_of,
)
from clipper.client.operations import applications, deployment, external, feedback, models, queries, rehearsal
from clipper.client.prediction import Prediction
from clipper.client.signatures import describe_as
from clipper.client.steps import Call, Pause, Protocol, Reply, Request, Session, Step, Steps, Work
from clipper.client.wire import is_direct

if TYPE_CHECKING:
    from clipper.client.channels import BlockingChannel

P = ParamSpec("P")
T = TypeVar("T")


def _method(operation: Callable[Concatenate[Session, P], Steps[T]]) -> Callable[Concatenate["Connection", P], T]:
    """The operation as a method, with the same arguments and documentation."""

    @wraps(operation)
    def call(self: "Connection", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(operation(self.session, *args, **kwargs))

    return describe_as(call, operation)


class Connection:
    """A connection to a Clipper server, for administration and for queries. May be shared by threads.

    Use it as a context manager, or `close` it. The query address is asked of the admin API when it is first needed,
    unless it is given. Every failure is a `clipper.ClipperError` with a ``code``.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        query_url: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        protocol: Protocol = "rest",
        grpc_address: str | None = None,
    ) -> None:
        check_limits(timeout_s, connect_timeout_s, max_connections)
        self.session = open_session(url, token, query_url, grpc_address, protocol)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._pool: BlockingPool | None = None
        self._client = httpx.Client(**client_options(self.session, timeout_s, connect_timeout_s))
        self._grpc: BlockingChannel | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server; this object is of no use afterwards."""
        self._client.close()
        if self._pool is not None:
            self._pool.close()
        if self._grpc is not None:
            self._grpc.close()

    def carry_out(self, steps: Steps[T]) -> T:
        """Do what the steps say, one after the other, and return what they come to."""
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def _do(self, step: Step) -> Any:
        match step:
            case Request():
                return self._send(step)
            case Call():
                return self._channel().call(step)
            case Pause():
                time.sleep(step.seconds)
            case Work():
                return step.run()
        return None

    def _send(self, request: Request) -> Reply:
        if request.to == "query" and (pool := self._query_pool()) is not None:
            return pool.ask(request)
        url = url_of(request, self.session)
        with failures_as_ours(url), payload(request, self.session, self._timeout_s) as options:
            try:
                response = self._client.request(request.method, url, **options)
            except BROKEN:
                if not request.repeatable:
                    raise
                response = self._client.request(request.method, url, **options)
                return Reply(response.status_code, response.content, repeated=True)
            return Reply(response.status_code, response.content)

    def _query_pool(self) -> BlockingPool | None:
        """Connections to the query address; None where queries take httpx's road, which knows of proxies."""
        url = self.session.query_url or ""
        with self._opening:
            if self._pool is None or self._pool.url != url:
                if not is_direct(url):
                    return None
                if self._pool is not None:
                    self._pool.close()
                self._pool = BlockingPool(url, self._timeout_s, self._connect_timeout_s, self._max_connections)
            return self._pool

    predict = _method(queries.predict)
    predict_batch = _method(queries.predict_batch)

    def predict_stream(
        self,
        app: str,
        xs: Iterable[Any],
        *,
        uid: str | None = None,
        timeout_ms: float | None = None,
        version: str | int | None = None,
        explain: bool = False,
    ) -> Iterator[tuple[int, Prediction]]:
        """Ask an application for as long as there are inputs; answers come as they are ready, over one gRPC stream.

        Args:
            app: The application's name.
            xs: The inputs: a list or array, or an iterator, which is read as the server takes them.
            uid: As with `predict`, for all of them; so are the other options.
            timeout_ms: The time for each of them.
            version: Force a version of the model (policy ``single`` only).
            explain: Ask for the decision behind each answer.

        Yields:
            ``(i, prediction)`` in the order of the answers, ``i`` counting the inputs from 0. An input that fails has
            its ``error`` set. Leaving the loop cancels what is under way.

        Raises:
            Unavailable: The server shuts down, or has no gRPC address.
            Unreachable: The connection broke; what has no answer yet may be asked again.
        """
        self.carry_out(queries.grpc_address(self.session))
        yield from self._channel().stream(app, xs, queries.query_options(uid, timeout_ms, version, explain))

    def _channel(self) -> "BlockingChannel":
        from clipper.client.channels import BlockingChannel  # noqa: PLC0415  # gRPC is not imported by programs that do not use it

        with self._opening:
            if self._grpc is None:
                self._grpc = BlockingChannel(self.session.grpc_address or "", self._timeout_s)
            return self._grpc

    update = _method(feedback.update)
    update_many = _method(feedback.update_many)
    get_feedback = _method(feedback.get_feedback)
    get_selection = _method(feedback.get_selection)
    erase_user = _method(feedback.erase_user)

    def read_feedback(
        self, app: str, *, since: float | None = None, until: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Every record of an application's feedback log, oldest first; pages are fetched as they are needed.

        Args:
            app: The application's name.
            since: Only what was accepted from then on; in seconds since 1970.
            until: Only what was accepted before.

        Raises:
            UnknownApplication: There is no such application.
        """
        after: int | None = 0
        while after is not None:
            page = self.get_feedback(app, since=since, until=until, after=after)
            yield from page["records"]
            after = page["next"]

    register_application = _method(applications.register_application)
    update_application = _method(applications.update_application)
    unregister_application = _method(applications.unregister_application)
    get_all_apps = _method(applications.get_all_apps)
    get_app_info = _method(applications.get_app_info)
    link_model_to_app = _method(applications.link_model_to_app)
    unlink_model_from_app = _method(applications.unlink_model_from_app)
    get_linked_models = _method(applications.get_linked_models)

    deploy_model = _method(deployment.deploy_model)
    send_package = _method(deployment.send_package)
    register_model = _method(external.register_model)
    wait_for_version = _method(deployment.wait_for_version)

    set_model_version = _method(models.set_model_version)
    roll_back = _method(models.roll_back)
    set_num_replicas = _method(models.set_num_replicas)
    update_model = _method(models.update_model)
    update_model_version = _method(models.update_model_version)
    get_all_models = _method(models.get_all_models)
    get_model_info = _method(models.get_model_info)
    get_current_model_version = _method(models.get_current_model_version)
    get_all_model_replicas = _method(models.get_all_model_replicas)
    get_logs = _method(models.get_logs)
    stop_models = _method(models.stop_models)
    stop_versioned_models = _method(models.stop_versioned_models)
    stop_inactive_model_versions = _method(models.stop_inactive_model_versions)
    delete_model = _method(models.delete_model)
    get_status = _method(queries.get_status)
    test_predict_function = _method(rehearsal.test_predict_function)
