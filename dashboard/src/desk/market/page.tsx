/** The market of the chosen pair: book, price, depth, trades, orders. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { book, prints } from "../../live/market";
import { chosenPair, loadPairs, loadSessions, pairOf, pairs, sessions } from "../../live/state";
import { link } from "../../live/stream";
import type { Pair, Session } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, decimalsOf, modeOf, paceOf, short, words } from "../figures";
import { attempt, Badge, Empty, Fact, Input, Status } from "../widgets";
import { DepthChart } from "./depth_chart";
import { LadderView } from "./ladder_view";
import { OrdersView } from "./orders_view";
import { PriceChart } from "./price_chart";
import { Tape } from "./tape";
import { PositionView, TicketView } from "./ticket_view";

export function MarketPage() {
  const chosen = useValue(chosenPair);
  const known = useValue(pairs);
  const running = useValue(sessions);
  const state = useValue(link);
  const pair = pairOf(chosen);
  if (known === null || running === null) return <Waiting state={state} />;
  if (!pair) return <NoPair />;
  const session = running.find((each) => each.pair_id === pair.pair_id) ?? null;
  if (!session) return <NoMarket pair={pair} />;
  if (session.fault) return <Lost pair={pair} fault={session.fault} />;
  const isStale = state === "lost" || state === "slow";
  return (
    <>
      <Strip pair={pair} session={session} isStale={isStale} />
      <div class="market">
        <LadderView pair={pair} isStale={isStale} />
        <PriceChart pairId={pair.pair_id} isStale={isStale} />
        <DepthChart base={pair.base} tick={pair.tick_size} isStale={isStale} />
        <Tape decimals={decimalsOf(pair.tick_size)} sizeDecimals={decimalsOf(pair.lot_size)} isStale={isStale} />
        <div class="side">
          <TicketView pair={pair} isPlayed={session.playback !== null} />
          <PositionView pair={pair} isStale={isStale} />
        </div>
        <OrdersView pair={pair} isStale={isStale} />
      </div>
    </>
  );
}

function Waiting({ state }: { state: string }) {
  return (
    <Empty title={state === "lost" ? "The service cannot be reached" : "Loading"}>
      <p>{state === "lost" ? "Is it running? This page goes on by itself when it is back." : "The markets of the service are being asked for."}</p>
    </Empty>
  );
}

/** The figures of the market in one line; each changes ten times a second, so that it is drawn apart from the rest. */
function Strip({ pair, session, isStale }: { pair: Pair; session: Session; isStale: boolean }) {
  const found = useValue(book);
  const trades = useValue(prints);
  const decimals = decimalsOf(pair.tick_size);
  const [bid, ask] = [found?.bids[0], found?.asks[0]];
  const last = trades[0];
  const minute = last ? trades.filter((print) => print.ts > last.ts - 60) : [];
  const spread = bid && ask ? Number(ask.price) - Number(bid.price) : null;
  return (
    <dl class={`strip ${isStale ? "is-old" : ""}`}>
      <div class="fact pair-name">
        <dt class="hidden">Pair</dt>
        <dd>
          {pair.symbol} {isStale && <Badge tone="warn">old</Badge>}
        </dd>
      </div>
      <Fact name="Last trade" class={last?.side === "BUY" ? "buy" : last ? "sell" : ""}>{last ? decimal(last.price.toFixed(decimals), decimals) : "–"}</Fact>
      <Fact name="Bid" class="buy">{bid ? decimal(Number(bid.price).toFixed(decimals), decimals) : "–"}</Fact>
      <Fact name="Ask" class="sell">{ask ? decimal(Number(ask.price).toFixed(decimals), decimals) : "–"}</Fact>
      <Fact name="Spread">
        {spread === null || !bid ? "–" : `${((spread / Number(bid.price)) * 1e4).toFixed(2)} bp`}
      </Fact>
      <Fact name="Volume, 1 min">{short(minute.reduce((sum, print) => sum + print.size, 0))} {pair.base}</Fact>
      <Fact name="Mode">
        <a href="#/session">{modeOf(session)}</a>
      </Fact>
      <Fact name="Speed">
        {paceOf(session)}
      </Fact>
      <Fact name="State">
        <Status value={session.state} />
      </Fact>
      {found?.phase !== undefined && found.phase !== "CONTINUOUS" && (
        <Fact name="Phase">
          <Badge tone="warn">{words(found.phase)}</Badge> {found.indicative_price ? `at ${decimal(Number(found.indicative_price).toFixed(decimals))}` : ""}
        </Fact>
      )}
      {found?.stale && (
        <Fact name="Feed">
          <Badge tone="warn">gap</Badge>
        </Fact>
      )}
    </dl>
  );
}

/** The market's recording cannot be opened. */
function Lost({ pair, fault }: { pair: Pair; fault: string }) {
  return (
    <Empty title={`The market of ${pair.symbol} is not there`}>
      <p>{fault}. It goes on by itself when the recording is back.</p>
      <a class="button" href="#/session">
        Stop it
      </a>
    </Empty>
  );
}

/** Nothing runs for this pair: what to do, done here. */
function NoMarket({ pair }: { pair: Pair }) {
  const [price, write] = useState(pair.initial_price ?? "");
  const [busy, set] = useState(false);
  const start = async (): Promise<void> => {
    set(true);
    await attempt(
      call<Session>("POST", "api/v1/simulator/sessions", { pair_id: pair.pair_id, ...(price ? { initial_price: price } : {}) }),
      () => `The market of ${pair.symbol} runs`,
    );
    await loadSessions().catch(() => undefined);
    set(false);
  };
  return (
    <Empty title={`No market runs for ${pair.symbol}`}>
      <p>Start one: a simulated exchange with an order book, trades and prices of its own. Modes and scenarios are on the session page.</p>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <Input label={`First price, ${pair.quote}`} value={price} onValue={write} inputMode="decimal" />
        <button type="submit" class="primary" disabled={busy || !price}>
          Start the market
        </button>
        <a class="button" href="#/session">
          More choices
        </a>
      </form>
    </Empty>
  );
}

function NoPair() {
  const [symbol, name] = useState("BTC-USDT");
  const [price, write] = useState("50000");
  const start = async (): Promise<void> => {
    const [base = "", quote = ""] = symbol.split("-");
    await attempt(
      call<Pair>("POST", "api/v1/pairs", { symbol, base, quote, tick_size: "0.01", lot_size: "0.00001", initial_price: price }),
      () => `The market of ${symbol} runs`,
    );
    await loadPairs().then(loadSessions).catch(() => undefined);
  };
  return (
    <Empty title="No pair yet">
      <p>Add one with a first price; its simulated market starts at once.</p>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <Input label="Symbol" value={symbol} onValue={name} hint="base-quote" />
        <Input label="First price" value={price} onValue={write} inputMode="decimal" />
        <button type="submit" class="primary">
          Add the pair
        </button>
      </form>
    </Empty>
  );
}
