"""The connection for programs with an event loop: the same calls, awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from clipper.client.http import BROKEN, client_options, failures_as_ours, open_session, payload, url_of
from clipper.client.operations import applications, deployment, feedback, models, queries, rehearsal
from clipper.client.signatures import describe_as
from clipper.client.steps import Pause, Reply, Request, Session, Step, Steps, Work

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
        self, url: str | None = None, token: str | None = None, query_url: str | None = None, *, timeout_s: float = 30.0
    ) -> None:
        self.session = open_session(url, token, query_url)
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(**client_options(self.session, timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the server; this object is of no use afterwards."""
        await self._client.aclose()

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
            case Pause():
                await asyncio.sleep(step.seconds)
            case Work():
                return await _in_thread(step.run)
        return None

    async def _send(self, request: Request) -> Reply:
        url = url_of(request, self.session)
        with failures_as_ours(url), payload(request, self.session, self._timeout_s) as options:
            try:
                response = await self._client.request(request.method, url, **options)
            except BROKEN:
                if not request.repeatable:
                    raise
                response = await self._client.request(request.method, url, **options)
            return Reply(response.status_code, response.content)

    predict = _method(queries.predict)
    predict_batch = _method(queries.predict_batch)

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
    wait_for_version = _method(deployment.wait_for_version)

    set_model_version = _method(models.set_model_version)
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
