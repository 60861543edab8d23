"""The images on the engine: found, pulled or built, once for all who wait for them, and what happens meanwhile said."""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clipper.control.docker import labels
from clipper.control.docker.engine import Engine, EngineRefused, asking, is_missing
from clipper.control.docker.recipes import Kitchen, Recipe
from clipper.control.docker.tars import streamed
from clipper.control.manager import NotPrepared

LAST_LINES = 12
"""So much of a failed build is repeated in its sentence; all of it is in the server's log at the level debug."""
_SHOWN_CHARS = 160
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The builder reddens what a command wrote to standard error."""
_NOISE = ("--->", "Removing intermediate container", "Successfully tagged", "Successfully built")

Tell = Callable[[str], None]
"""Called in the event loop with what is being done."""
_Make = Callable[[Tell, threading.Event], None]
"""Blocks until the image is there; tells what it does; ends soon after the event is set."""


class _Making:
    """An image that is on its way, and who waits for it."""

    def __init__(self) -> None:
        self.listeners: list[Tell] = []
        self.abandoned = threading.Event()
        self.task: asyncio.Task[None] | None = None

    def tell(self, doing: str) -> None:
        for listener in self.listeners:
            listener(doing)


class Images:
    """Provides the image that a version runs in.

    Args:
        engine: Where they are.
        kitchen: What they are built from.
        prefix: Where they are pulled from; empty: they are built.
    """

    def __init__(self, engine: Engine, kitchen: Kitchen, prefix: str) -> None:
        self._engine = engine
        self._kitchen = kitchen
        self._prefix = prefix
        self._making: dict[str, _Making] = {}

    async def provide(self, flavor: str, manifest: Mapping[str, Any], artifact_dir: Path, tell: Tell) -> str:
        """The name of an image for such a model, unpacked there, which is on the engine when this returns.

        A cancelled wait ends the building or pulling if nobody else waits for it.

        Raises:
            NotPrepared: It cannot be had; its last words are the end of what the engine said.
            EngineRefused: The engine cannot be asked.
        """
        recipes = await self._engine.call(self._kitchen.recipes, flavor, manifest, artifact_dir)
        if not self._prefix:
            return await self.build(recipes, tell)
        name = f"{self._prefix}{recipes[1].title_and_version}"
        await self._have(name, tell, partial(pull, self._engine, name))
        return await self.build(_on_top_of(name, recipes), tell) or name

    async def provide_baked(self, name: str, input_type: str, tell: Tell) -> str:
        """An image of a user's that has the model in it, on the engine when this returns.

        Raises:
            NotPrepared: There is none of that name, it was not made by ``clipper build``, or its model takes other
                inputs.
            EngineRefused: The engine cannot be asked.
        """
        await self._have(name, tell, partial(pull_baked, self._engine, name))
        taken = await self._engine.call(_label, self._engine, name, labels.INPUT_TYPE)
        if taken is None:
            raise NotPrepared(f"The image {name} has no model in it that 'clipper build' put there")
        if taken != input_type:
            raise NotPrepared(f"The model in the image {name} takes {taken}; the version was deployed for {input_type}")
        return name

    async def build(self, recipes: Sequence[Recipe], tell: Tell) -> str:
        """Build what is missing of ``recipes``, in order; returns the name of the last one.

        Raises:
            NotPrepared: A build failed.
        """
        tag = ""
        for recipe in recipes:
            tag = await self._engine.call(recipe.tag)
            await self._have(tag, tell, partial(build, self._engine, recipe, tag))
        return tag

    async def build_as(self, recipe: Recipe, tag: str, tell: Tell) -> None:
        """Build ``recipe`` under a name of the user's, whatever has that name now.

        Raises:
            NotPrepared: The build failed.
        """
        making = _Making()
        making.listeners.append(tell)
        await self._engine.call_for_long(
            build, self._engine, recipe, tag, partial(_tell_in, asyncio.get_running_loop(), making), making.abandoned
        )

    async def _have(self, name: str, tell: Tell, make: _Make) -> None:
        if name not in self._making and await self._engine.call(_exists, self._engine, name):
            return
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = _Making()
            making.task = asyncio.create_task(self._make(name, making, make), name=f"image {name}")
        making.listeners.append(tell)
        assert making.task is not None  # noqa: S101  # set where it is made
        try:
            await asyncio.shield(making.task)
        finally:
            making.listeners.remove(tell)
            if not making.listeners:
                making.abandoned.set()

    async def _make(self, name: str, making: _Making, make: _Make) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._engine.call_for_long(make, partial(_tell_in, loop, making), making.abandoned)
        finally:
            del self._making[name]


def build(engine: Engine, recipe: Recipe, tag: str, tell: Tell, abandoned: threading.Event) -> None:
    """Build an image; blocks.

    Raises:
        NotPrepared: It failed, or it was abandoned.
    """
    tell(f"building the image {tag}")
    api = engine.client.api
    with closing(streamed(recipe.context)) as context:
        lines = asking(
            api.build,
            fileobj=context,  # type: ignore[arg-type]  # requests sends any iterable, in chunks
            custom_context=True,
            tag=tag,
            buildargs=dict(recipe.arguments),
            labels={"clipper.image": recipe.title, **recipe.labels},
            # With wheels at hand nothing is to come from elsewhere.
            network_mode=None if recipe.wheels is None else "none",
            rm=True,
            forcerm=True,
            decode=True,
            timeout=None,
        )
        _follow(lines, f"building the image {tag}", tell, abandoned)


def pull(engine: Engine, name: str, tell: Tell, abandoned: threading.Event) -> None:
    """Pull an image that this release brings along; blocks.

    Raises:
        NotPrepared: There is none, or it was abandoned.
    """
    _pull(engine, name, tell, abandoned, "Push it there, or leave docker_image_prefix empty to have it built")


def pull_baked(engine: Engine, name: str, tell: Tell, abandoned: threading.Event) -> None:
    """Pull an image of a user's; blocks.

    Raises:
        NotPrepared: There is none, or it was abandoned.
    """
    _pull(engine, name, tell, abandoned, f"Push it, or build it on this engine: clipper build ... -t {name}")


def _pull(engine: Engine, name: str, tell: Tell, abandoned: threading.Event, way_out: str) -> None:
    tell(f"pulling the image {name}")
    try:
        lines = asking(engine.client.api.pull, *_parts(name), stream=True, decode=True)
        _follow(lines, f"pulling the image {name}", tell, abandoned)
    except (EngineRefused, NotPrepared) as error:
        raise NotPrepared(
            f"The image {name} is neither on the Docker engine nor can it be pulled: {error} {way_out}"
        ) from None


def _parts(name: str) -> tuple[str, str]:
    """Repository, and tag or digest. A colon before a slash is a registry's port."""
    if "@" in name:
        return name, ""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _follow(lines: Generator[dict[str, Any], None, None], doing: str, tell: Tell, abandoned: threading.Event) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    with closing(lines):
        while True:
            line = asking(next, lines, None)
            if line is None:
                return
            if abandoned.is_set():
                raise NotPrepared(f"nobody waits any longer for {doing}")
            failure = line.get("error") or line.get("message")
            if failure:
                sentence = f"{doing} failed: {_cause(last, str(failure))}"
                raise NotPrepared(sentence, last_words="\n".join(last) or None)
            text = _text(line)
            if text:
                last.append(text)
                tell(f"{doing}: {text[:_SHOWN_CHARS]}")


def _cause(last: Collection[str], failure: str) -> str:
    """Pip's own error, if there is one: the engine says only which command failed."""
    errors = [line.removeprefix("ERROR: ") for line in last if line.startswith("ERROR: ")]
    return (errors[-1] if errors else failure).strip().rstrip(".")


def _text(line: Mapping[str, Any]) -> str:
    """What a line of the engine's progress says to people: no bars, and nothing of the builder's own affairs."""
    if "progress" in line:
        return ""
    parts = (line.get("id"), line.get("status") or line.get("stream"))
    text = _COLOUR.sub("", " ".join(str(part).strip() for part in parts if part)).strip()
    return "" if text.startswith(_NOISE) else text


def _exists(engine: Engine, name: str) -> bool:
    try:
        asking(engine.client.api.inspect_image, name)
    except EngineRefused as error:
        if is_missing(error):
            return False
        raise
    return True


def _label(engine: Engine, name: str, label: str) -> str | None:
    inspected = asking(engine.client.api.inspect_image, name)
    return ((inspected.get("Config") or {}).get("Labels") or {}).get(label)


def _tell_in(loop: asyncio.AbstractEventLoop, making: _Making, doing: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(making.tell, doing)


def _on_top_of(name: str, recipes: Sequence[Recipe]) -> list[Recipe]:
    """What is still to be built where the runtime's image was pulled: the model's own requirements."""
    return [replace(recipe, arguments={**recipe.arguments, "RUNTIME_IMAGE": name}) for recipe in recipes[2:]]
