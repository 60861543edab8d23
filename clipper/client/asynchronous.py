"""The connection for programs with an event loop: the same calls, awaited."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from clipper.client.async_pool import AsyncPool
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
    from clipper.client.channels import AsyncChannel

P = ParamSpec("P")
T = TypeVar("T")


def _method(
    operation: Callable[Concatenate[Session, P], Steps[T]],
) -> Callable[Concatenate["AsyncConnection", P], Coroutine[Any, Any, T]]:
    """The operation as a method, with the same arguments and documentation."""

    @wraps(operation)
    async def call(self: "AsyncConnection", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.carry_out(operation(self.session, *args, **kwargs))

    return describe_as(call, operation)


class AsyncConnection:
    """A connection to a Clipper server, for administration and for queries. Of one event loop.

    Use it as an asynchronous context manager, or `close` it. The query address is asked of the admin API when it is
    first needed, unless it is given. Every failure is a `clipper.ClipperError` with a ``code``. A call that
    is cancelled may have reached the server; what a deployment had packaged is removed.
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
        self._pool: AsyncPool | None = None
        self._client = httpx.AsyncClient(**client_options(self.session, timeout_s, connect_timeout_s))
        self._grpc: AsyncChannel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the server; this object is of no use afterwards."""
        await self._client.aclose()
        if self._pool is not None:
            self._pool.close()
        if self._grpc is not None:
            await self._grpc.close()

    async def carry_out(self, steps: Steps[T]) -> T:
        """Do what the steps say, one after the other, and return what they come to."""
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def _do(self, step: Step) -> Any:
        match step:
            case Request():
                return await self._send(step)
            case Call():
                return await self._channel().call(step)
            case Pause():
                await asyncio.sleep(step.seconds)
            case Work():
                return await _in_thread(step.run)
        return None

    async def _send(self, request: Request) -> Reply:
        if request.to == "query" and (pool := self._query_pool()) is not None:
            return await pool.ask(request)
        url = url_of(request, self.session)
        with failures_as_ours(url), payload(request, self.session, self._timeout_s) as options:
            try:
                response = await self._client.request(request.method, url, **options)
            except BROKEN:
                if not request.repeatable:
                    raise
                response = await self._client.request(request.method, url, **options)
                return Reply(response.status_code, response.content, repeated=True)
            return Reply(response.status_code, response.content)

    def _query_pool(self) -> AsyncPool | None:
        """Connections to the query address; None where queries take httpx's road, which knows of proxies."""
        url = self.session.query_url or ""
        if self._pool is None or self._pool.url != url:
            if not is_direct(url):
                return None
            if self._pool is not None:
                self._pool.close()
            self._pool = AsyncPool(url, self._timeout_s, self._connect_timeout_s, self._max_connections)
        return self._pool

    predict = _method(queries.predict)
    predict_batch = _method(queries.predict_batch)

    async def predict_stream(
        self,
        app: str,
        xs: Iterable[Any] | AsyncIterable[Any],
        *,
        uid: str | None = None,
        timeout_ms: float | None = None,
        version: str | int | None = None,
        explain: bool = False,
    ) -> AsyncIterator[tuple[int, Prediction]]:
        """Ask an application for as long as there are inputs; answers come as they are ready, over one gRPC stream.

        Args:
            app: The application's name.
            xs: The inputs: a list or array, or an iterator, also an asynchronous one, which is read as the server takes
                them.
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
        await self.carry_out(queries.grpc_address(self.session))
        options = queries.query_options(uid, timeout_ms, version, explain)
        async with aclosing(self._channel().stream(app, xs, options)) as answers:
            async for numbered in answers:
                yield numbered

    def _channel(self) -> "AsyncChannel":
        from clipper.client.channels import AsyncChannel  # noqa: PLC0415  # gRPC is not imported by programs that do not use it

        if self._grpc is None:
            self._grpc = AsyncChannel(self.session.grpc_address or "", self._timeout_s)
        return self._grpc

    update = _method(feedback.update)
    update_many = _method(feedback.update_many)
    get_feedback = _method(feedback.get_feedback)
    get_selection = _method(feedback.get_selection)
    erase_user = _method(feedback.erase_user)

    async def read_feedback(
        self, app: str, *, since: float | None = None, until: float | None = None
    ) -> AsyncIterator[dict[str, Any]]:
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
            page = await self.get_feedback(app, since=since, until=until, after=after)
            for record in page["records"]:
                yield record
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


async def _in_thread(run: Callable[[], Any]) -> Any:
    """Run blocking work. A cancellation waits for its end: a thread cannot be stopped, and its files go next."""
    work = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # Nobody else will ask for it.
        raise
