"""The event loop behind all synchronous clients of a process: one daemon thread, begun by the first call.

A call is a coroutine that runs on that loop while its caller waits on a lock. The loop belongs to this module, so it
works beside a loop that runs already (Jupyter), from any number of threads, and in a process that was forked: the child
lets go of the parent's loop without touching it, and makes its own. A caller that is interrupted (Ctrl-C) takes its
coroutine with it, so the server sees that nobody waits any more. When the interpreter ends, the loop ends first and
closes what is open.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import selectors
import sys
import threading
import weakref
from typing import Any, Coroutine, Generic, Optional, Set, TypeVar

from opscore_sdk.errors import OpsCoreSDKError
from opscore_sdk.streams import Stream
from opscore_sdk.transport import Connections

T = TypeVar("T")

_SLICE = 0.1 if sys.platform == "win32" else -1
"""Seconds of one wait on a lock: on Windows a signal is only seen between two waits."""
_LAST_WORDS = 0.1
"""Seconds that an interrupted caller waits for its request to be closed."""
_END_LIMIT = 2.0
_OVER = "The interpreter is ending; nothing can be called any more."


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns or raises, run on the shared loop in the caller's context.

    Raises:
        OpsCoreSDKError: The caller is on that loop itself, or the interpreter is ending.
    """
    try:
        loop = _shared.loop()
    except BaseException:
        coroutine.close()
        raise
    return loop.call(coroutine)


def keep_stream(stream: Stream[Any]) -> None:
    """Close a stream when the interpreter ends, if it is still open then."""
    _shared.streams.add(stream)


def keep(owner: object, connections: Connections) -> None:
    """Look after a client's connections: close them when it is forgotten, or when the interpreter ends."""
    _shared.keep(connections)
    weakref.finalize(owner, _shared.drop, connections).atexit = False


class _Call(Generic[T]):
    """A coroutine that a thread waits for."""

    __slots__ = ("_coroutine", "_ended", "_error", "_result", "_task")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: Optional[asyncio.Task[None]] = None
        self._error: Optional[BaseException] = None
        self._result: Optional[T] = None
        self._ended = threading.Lock()
        self._ended.acquire()

    def start(self, owner: Set[asyncio.Task[None]]) -> None:
        """Begin, on the loop; the owner keeps the task until it has ended."""
        self._task = task = asyncio.get_running_loop().create_task(self._run())
        owner.add(task)
        task.add_done_callback(owner.discard)

    async def _run(self) -> None:
        try:
            self._result = await self._coroutine
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's; nothing must end the loop
            self._error = error
        self._ended.release()

    def cancel(self) -> None:
        """Give up, on the loop."""
        if self._task is None:
            self._coroutine.close()
        else:
            self._task.cancel()

    def wait(self) -> T:
        """Its result, once there is one."""
        while not self._ended.acquire(timeout=_SLICE):
            pass
        try:
            if self._error is not None:
                raise self._error
            return self._result  # type: ignore[return-value]  # without an error there is a result
        finally:
            self._error = None  # the error's traceback knows this frame

    def wait_briefly(self) -> None:
        """See it end, if that does not take long."""
        self._ended.acquire(timeout=_LAST_WORDS)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.set_debug(False)  # also under -X dev: what it would say is about us, and comes in the user's terminal
        self.left_behind: Any = None
        self._tasks: Set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="opscore-sdk", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine; the caller waits."""
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise OpsCoreSDKError("A synchronous client cannot be called from its own event loop, as in a hook.")
        call = _Call(coroutine)
        try:
            if self.begin(call):
                return call.wait()
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if not isinstance(error, Exception):  # the caller was interrupted
                with contextlib.suppress(RuntimeError):
                    self.call_soon_threadsafe(call.cancel)
                    call.wait_briefly()
            raise
        raise OpsCoreSDKError(_OVER)

    def begin(self, call: _Call[Any]) -> bool:
        """Begin a call in the context of whoever asks; not after the end of the loop."""
        try:
            self.call_soon_threadsafe(call.start, self._tasks, context=contextvars.copy_context())
        except RuntimeError:
            call.cancel()
            return False
        return True

    def end(self) -> None:
        """Close everything, and wait for it a little."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self.call_soon_threadsafe(self.stop)
        self._thread.join(_END_LIMIT)

    def _run(self) -> None:
        asyncio.set_event_loop(self)
        try:
            self.run_forever()
            self.run_until_complete(self._clean_up())
        finally:
            asyncio.set_event_loop(None)
            self.close()

    async def _clean_up(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_LIMIT / 2)
        for stream in list(_shared.streams):
            await stream.aclose()  # before its parts, which the last line closes in any order
        for connections in _shared.kept():
            await connections.close()
        await self.shutdown_asyncgens()


class _Shared:
    """What the clients of this process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Optional[_Loop] = None
        self._connections: weakref.WeakSet[Connections] = weakref.WeakSet()
        self.streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._is_registered = False
        self._is_over = False

    def loop(self) -> _Loop:
        """The loop of this process."""
        loop = self._loop
        return self._begin() if loop is None else loop

    def _begin(self) -> _Loop:
        import aiohttp  # noqa: F401 - here the caller waits for it, and not the loop

        with self._lock:
            if self._is_over:
                raise OpsCoreSDKError(_OVER)
            if not self._is_registered:
                self._is_registered = True
                atexit.register(self._end)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=self._after_fork)
            if self._loop is None:
                self._loop = _Loop()
            return self._loop

    def keep(self, connections: Connections) -> None:
        """Know connections, to close them at the end and to let go of them after a fork."""
        with self._lock:
            self._connections.add(connections)

    def kept(self) -> list[Connections]:
        """All connections of clients that are still there."""
        with self._lock:
            return list(self._connections)

    def drop(self, connections: Connections) -> None:
        """Close connections that nobody will use any more; called from anywhere, so it waits for nothing."""
        loop = self._loop
        if loop is not None and not connections.is_closed:
            loop.begin(_Call(connections.close()))

    def _after_fork(self) -> None:
        """In the child: the parent's loop and sockets stay the parent's.

        Closing them here would take them out of the epoll instance that both processes share. The abandoned loop is
        never freed, because the frame of its thread, which was not forked, holds it; so it holds all the rest.
        """
        self._lock = threading.Lock()
        loop, self._loop = self._loop, None
        streams, self.streams = self.streams, weakref.WeakSet()
        if loop is not None:
            loop.left_behind = [*streams, *(connections.leave_behind() for connections in self._connections)]

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            loop = self._loop
        if loop is not None:
            loop.end()
            self._loop = None


_shared = _Shared()
