"""The owner's side of the slow obvious replay: what he sees of the market and of his orders, and what he asks for."""

from __future__ import annotations

from reference_order import Own

from market_maker.strategies.actions import Amend, Cancel, OwnOrder, decode, make_view, new_actions

NEW, PARTIAL, FILLED, CANCELED, REJECTED, EXPIRED = 1, 2, 3, 4, 5, 6


class Owner:
    """Half of a `Reference`: it shares its fields."""

    def local_row(self):
        _, code, price, lots, _ = self.local.pop(0)
        side = 1 if code > 0 else -1
        if abs(code) == 1:
            self.seen.set(side, price, lots)
        elif abs(code) == 2:
            self.last_trade = price
            self.trades += 1
            self.bought, self.sold = self.bought + lots * (side > 0), self.sold + lots * (side < 0)
        elif abs(code) == 4:
            if code > 0:
                self.seen.displace(price)
        else:
            self.seen.levels[side].clear()
            self.seen.best[side] = 0

    def answered(self):
        _, own, refused, (status, leaves, front, price, qty), lots, cash, fee = self.responses.pop(0)
        if refused:
            own.amend_pending = 0
            return
        self.known = [self.known[0] + lots, self.known[1] + cash, self.known[2] + fee]
        if (own.known_price, own.known_qty) != (price, qty):
            own.known_price, own.known_qty, own.amend_pending = price, qty, 0
        own.known_status, own.known_leaves, own.known_front = status, leaves, front
        if status >= FILLED:
            self.open.remove(own)

    def allows(self, now, side, price, whole, added):
        """Whether the limits let an order leave."""
        if self.guard is None:
            return True
        resting = sum(o.known_leaves for o in self.open if o.side == side and o.known_status <= 2)
        return self.guard.allows(now, side, price, whole, added, self.known[0], resting, self.seen.mid())

    def halted(self, now):
        """Cancel everything once, when a breach has just halted the run."""
        if self.guard is None or not self.guard.cancels:
            return
        self.guard.cancels = False
        for own in self.open:
            if own.known_status <= 2 and not own.cancel_pending:
                own.cancel_pending = 1
                self.requests.append((now + self.entry, own, Cancel(own.order_id)))

    def wake(self, now):
        if self.guard is not None:
            self.guard.watch(now, *self.known, self.seen.mid())
            self.halted(now)
        quotes = {
            side: [(self.seen.best[side], self.seen.levels[side][self.seen.best[side]])] if self.seen.best[side] else []
            for side in (1, -1)
        }
        view = make_view(
            now_ts=now, bids=quotes[1], asks=quotes[-1], position_lots=self.known[0], cash_tick_lots=self.known[1],
            fees_tick_lots=self.known[2], balance_tick_lots=self.balance, last_trade_ticks=self.last_trade,
            bought_lots=self.bought, sold_lots=self.sold, trades=self.trades,
            orders=[
                OwnOrder(o.order_id, o.side, o.known_price, o.known_qty, o.known_leaves, o.known_status,
                         o.cancel_pending, o.known_front, o.submitted, o.amend_pending)
                for o in self.open
            ],
        )  # fmt: skip
        self.bought = self.sold = self.trades = 0
        actions = new_actions()
        self.strategy(view, self.params, self.memory, actions)
        for action in decode(actions):
            if isinstance(action, Cancel | Amend):
                for own in self.open:
                    if own.order_id != action.order_id or own.cancel_pending:
                        continue
                    if isinstance(action, Cancel):
                        own.cancel_pending = 1
                    elif (
                        own.amend_pending
                        or action[1:] == (own.known_price, own.known_qty)
                        or not self.may_change(now, own, action)
                    ):
                        continue
                    else:
                        own.amend_pending = 1
                    self.requests.append((now + self.entry, own, action))
                continue
            self.last_id += 1
            price = 0 if action.order_type else action.price_ticks
            if not self.allows(now, action.side, price, action.qty_lots, action.qty_lots):
                self.refused += 1
                continue
            own = Own(
                self.last_id, action.side, bool(action.order_type), int(action.time_in_force), action.post_only,
                action.price_ticks, action.qty_lots, action.expire_ts, now, action.qty_lots, action.qty_lots,
                action.price_ticks, action.qty_lots, self.model,
            )  # fmt: skip
            self.open.append(own)
            self.requests.append((now + self.entry, own, action))
        self.halted(now)

    def may_change(self, now, own, action):
        """Whether the limits let a change leave; one that only shrinks passes."""
        added = max(action.qty_lots - own.known_qty, 0)
        if not added and action.price_ticks == own.known_price:
            return True
        return self.allows(now, own.side, action.price_ticks, action.qty_lots, added)
