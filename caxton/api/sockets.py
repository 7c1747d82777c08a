"""WebSocket connections as this room needs them."""

import trio
from hypercorn.typing import ASGIReceiveCallable, WebsocketScope
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIWebsocketConnection


class WebsocketConnection(TrioASGIWebsocketConnection):
    """Quart's own takes `bytes or text` from an event: an empty binary frame would arrive as None.

    It also keeps ten frames per connection, beside those that hypercorn keeps; one is enough.
    """

    def __init__(self, app: QuartTrio, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self.send_channel, self.receive_channel = trio.open_memory_channel[str | bytes](1)

    async def handle_messages(  # type: ignore[override]  # quart-trio gives it a nursery
        self, nursery: trio.Nursery, receive: ASGIReceiveCallable
    ) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.receive":
                data: bytes | str | None = event.get("bytes")  # other servers leave out what is None
                if data is None:
                    data = event["text"]
                assert data is not None
                await self.send_channel.send(data)
            elif event["type"] == "websocket.disconnect":
                break
        nursery.cancel_scope.cancel()
