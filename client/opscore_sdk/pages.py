"""Lists that the server gives out a page at a time."""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable, Generator, Generic, Optional, Sequence, TypeVar

Page = TypeVar("Page")
Item = TypeVar("Item")


class Pages(Generic[Page, Item]):
    """A list of unknown length: ``async for`` gives all items, ``await`` the first page, :meth:`pages` all pages.

    Pages are asked for when they are needed, and every loop begins anew.
    """

    def __init__(
        self,
        fetch: Callable[[Optional[str]], Awaitable[Page]],
        items: Callable[[Page], Sequence[Item]],
        cursor: Callable[[Page, Optional[str]], Optional[str]],
    ) -> None:
        """Take how pages are had.

        Args:
            fetch: The page at a cursor; without one the first.
            items: What is on a page.
            cursor: What leads on from a page that was had at a cursor; None at the end.
        """
        self._fetch = fetch
        self._items = items
        self._cursor = cursor

    def __await__(self) -> Generator[Any, None, Page]:
        return self._fetch(None).__await__()

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in self._items(page):
                yield item

    async def pages(self) -> AsyncIterator[Page]:
        """All pages, in order."""
        cursor: Optional[str] = None
        while True:
            page = await self._fetch(cursor)
            yield page
            cursor = self._cursor(page, cursor)
            if cursor is None:
                return

    async def all(self, limit: Optional[int] = None) -> Sequence[Item]:
        """The items as a list.

        Args:
            limit: At most so many; by default all there are.
        """
        found: list[Item] = []
        async for page in self.pages():
            found += self._items(page)
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]
