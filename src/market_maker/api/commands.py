"""Commands from the bus: place, amend and cancel, by the same code and with the same answers as over HTTP.

A command stands in the queue `<prefix>.commands`; its answer goes to the queue of its `reply_to` with its correlation id.
What is no command, and what was refused while nobody awaits an answer, becomes a dead letter with the reason. A message that
comes twice, which every broker may do, places one order: its key is the order's `client_order_id`, else its message id.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response

from market_maker.api.problems import decode, from_error
from market_maker.api.schemas import AmendOrder, PlaceOrder, Request
from market_maker.api.simulator import amend_order, cancel_all_orders, cancel_order, client_key, place_order
from market_maker.domain.errors import InvalidRequest, MarketMakerError, Unavailable
from market_maker.domain.ids import new_id
from market_maker.service import MarketMakerService, Message

_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_CORRELATION = re.compile(r"[A-Za-z0-9._\-]{1,64}")


class PlaceOrderCommand(Request, tag_field="command", tag="place_order"):
    """Place an order: `order` is the body of `POST /api/v1/simulator/orders`. With `wait` the answer is the outcome."""

    order: msgspec.Raw
    wait: bool = False


class AmendOrderCommand(AmendOrder, kw_only=True, tag_field="command", tag="amend_order"):
    """Amend an order, as `PATCH /api/v1/simulator/orders/{order_id}` does."""

    order_id: UUID
    wait: bool = False


class CancelOrderCommand(Request, tag_field="command", tag="cancel_order"):
    """Cancel an order, as `DELETE /api/v1/simulator/orders/{order_id}` does."""

    order_id: UUID
    wait: bool = False


class CancelAllOrdersCommand(Request, tag_field="command", tag="cancel_all_orders"):
    """Cancel all open orders (of one pair, of one account), as `DELETE /api/v1/simulator/orders` does."""

    pair_id: UUID | None = None
    account_id: UUID | None = None


Command = PlaceOrderCommand | AmendOrderCommand | CancelOrderCommand | CancelAllOrdersCommand
_command_decoder = msgspec.json.Decoder(Command)
_order_decoder = msgspec.json.Decoder(PlaceOrder)


class CommandListener:
    """Carries out the commands that stand in a queue, one after the other, as they came.

    Parameters
    ----------
    service : the facade that orders go to
    bus : a `messaging.bus.Bus`
    """

    def __init__(self, service: MarketMakerService, bus: Any) -> None:
        self.queue = f"{bus.dead_letters.removesuffix('.dead')}.commands"
        self._service = service
        self._bus = bus
        self._subscription: Any = None

    async def start(self) -> None:
        """Begin to listen; while the broker is down, commands wait in their queue."""
        self._subscription = await self._bus.subscribe(self.queue, self.handle, ())

    async def stop(self) -> None:
        """Stop after the command in hand; what is not answered is delivered again."""
        if self._subscription is not None:
            await self._subscription.cancel()

    async def handle(self, message: Message) -> None:
        """Carry out one command and answer it.

        Raises
        ------
        InvalidRequest
            It is no command, or it was refused and nobody awaits an answer: it becomes a dead letter.
        Unavailable
            A dependency is down and nobody awaits an answer: it is tried again.
        """
        unreadable: InvalidRequest | None = None
        try:
            answer = await self._carry_out(message)
        except _Unreadable as error:
            unreadable = error.cause
            answer = from_error(error.cause)
        except MarketMakerError as error:
            if message.reply_to is None:
                raise error if isinstance(error, Unavailable) else InvalidRequest(error.detail, error.errors) from None
            answer = from_error(error)
        if message.reply_to is not None:
            await self._bus.publish(_reply(message, answer))
        if unreadable is not None:
            raise unreadable

    async def _carry_out(self, message: Message) -> Response[Any]:
        command, correlation_id = _read(message), _correlation(message)
        if isinstance(command, CancelOrderCommand):
            return await cancel_order(self._service, command.order_id, correlation_id, wait=command.wait)
        if isinstance(command, AmendOrderCommand):
            return await amend_order(self._service, command.order_id, command, correlation_id, wait=command.wait)
        if isinstance(command, CancelAllOrdersCommand):
            return await cancel_all_orders(self._service, command.pair_id, command.account_id, correlation_id)
        body = bytes(command.order)
        wish: PlaceOrder = decode(body, _order_decoder)
        key = client_key(wish) or f"message:{message.message_id}"
        return await place_order(self._service, wish, body, key, correlation_id, wait=command.wait)


class _Unreadable(Exception):
    def __init__(self, cause: InvalidRequest) -> None:
        super().__init__(cause.detail)
        self.cause = cause


def _read(message: Message) -> Command:
    try:
        if not _MESSAGE_ID.fullmatch(message.message_id):
            allowed = "1 to 128 letters, digits and . _ : -, which make the command safe to deliver twice"
            raise InvalidRequest.of("message_id", message.message_id, allowed)
        command: Command = decode(message.body, _command_decoder)
    except InvalidRequest as error:
        raise _Unreadable(error) from None
    return command


def _correlation(message: Message) -> str:
    given = message.correlation_id or message.message_id
    return given if _CORRELATION.fullmatch(given) else new_id().hex


def _reply(message: Message, answer: Response[Any]) -> Message:
    content = {"status": answer.status_code, "answer": msgspec.Raw(answer.content)}
    return Message(
        routing_key="simulator.command.answered",
        body=msgspec.json.encode(content),
        message_id=new_id().hex,
        correlation_id=message.correlation_id or message.message_id,
        queue=message.reply_to,
    )
