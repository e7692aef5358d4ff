/** What stands around every page: navigation, the chosen pair, how the connection is, the key, the theme, shortcuts. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

import { ThemeContext, useThemeChoice } from "../charts/theme";
import { apiKey, keepKey, keyWanted } from "../live/api";
import { chosenPair, choosePair, pairOf, pairs, sessions } from "../live/state";
import { lastNews, link, nextTry, tryNow } from "../live/stream";
import { useValue } from "../live/value";
import { BacktestsPage } from "./backtests/page";
import { DataPage } from "./data/page";
import { time } from "./figures";
import { MarketPage } from "./market/page";
import { RiskPage } from "./risk/page";
import { go, PAGES, place, type PageName } from "./router";
import { SessionPage } from "./session/page";
import { StrategyPage } from "./strategy/page";
import { SystemPage } from "./system/page";
import { Badge, Dialog, Input, Notices, Status, type Tone } from "./widgets";

const SHOWN: Record<PageName, ComponentType> = {
  market: MarketPage,
  session: SessionPage,
  backtests: BacktestsPage,
  strategy: StrategyPage,
  risk: RiskPage,
  data: DataPage,
  system: SystemPage,
};

export function Shell() {
  const [theme, toggleTheme] = useThemeChoice();
  const { page } = useValue(place);
  const [isHelpShown, showHelp] = useState(false);
  useValue(pairs);
  useShortcuts(() => showHelp(true));
  useEffect(() => {
    document.title = `${PAGES.find(([name]) => name === page)![1]} · Market Maker`;
    document.documentElement.dataset["page"] = page;
    document.querySelector(".bar [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [page]);
  const Page = SHOWN[page];
  return (
    <ThemeContext.Provider value={theme}>
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>
        Skip to the page
      </a>
      <header class="bar">
        <a class="brand" href="#/market" aria-label="Market Maker, to the market">
          <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
            <rect width="32" height="32" rx="7" fill="var(--brand)" />
            <path d="M7 12h10M7 8h6M15 20h10M19 24h6" stroke="#fff" stroke-width="2.6" stroke-linecap="round" />
          </svg>
          <b>Market Maker</b>
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([name, title], k) => (
            <a key={name} href={`#/${name}`} aria-current={name === page ? "page" : undefined} title={`${title} (${k + 1})`}>
              {title}
            </a>
          ))}
        </nav>
        <div class="bar-tools">
          <PairChoice />
          <LinkState />
          <button type="button" class="icon" onClick={toggleTheme} aria-label={theme === "dark" ? "Light colours" : "Dark colours"} title="Colours">
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
              {theme === "dark" ? <path d="M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6 13 13M13 3l-1.4 1.4M4.4 11.6 3 13M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6z" /> : <path d="M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z" />}
            </svg>
          </button>
          <button type="button" class="icon" onClick={() => showHelp(true)} aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)">
            ?
          </button>
        </div>
      </header>
      <LinkBanner />
      <main id="content" tabIndex={-1} class={`page page-${page}`}>
        <h1 class="hidden">{PAGES.find(([name]) => name === page)![1]}</h1>
        <Page />
      </main>
      <Notices />
      <KeyDialog />
      {isHelpShown && <Shortcuts onClose={() => showHelp(false)} />}
    </ThemeContext.Provider>
  );
}

function PairChoice() {
  const found = useValue(pairs) ?? [];
  const running = useValue(sessions) ?? [];
  const chosen = useValue(chosenPair);
  const session = running.find((each) => each.pair_id === chosen);
  return (
    <div class="pair-choice">
      <select id="pair" aria-label="Pair" value={chosen ?? ""} onChange={(event) => choosePair(event.currentTarget.value)}>
        {found.length === 0 && <option value="">no pairs</option>}
        {found.map((pair) => (
          <option key={pair.pair_id} value={pair.pair_id} selected={pair.pair_id === chosen}>
            {pair.symbol} · {pair.venue}
          </option>
        ))}
      </select>
      {pairOf(chosen) && (session ? <Status value={session.state} /> : <Badge tone="idle">no market</Badge>)}
    </div>
  );
}

const LINKS: Record<string, [Tone, string]> = {
  connecting: ["info", "connecting"],
  live: ["pass", "live"],
  slow: ["warn", "slow"],
  lost: ["fail", "offline"],
};

function LinkState() {
  const state = useValue(link);
  const [tone, text] = LINKS[state]!;
  return (
    <span class="link-state" data-link={state}>
      <Badge tone={tone} title="Connection to the service">
        {text}
      </Badge>
    </span>
  );
}

/** Says that what is shown is old, since when, and when the next attempt is made. */
function LinkBanner() {
  const state = useValue(link);
  const wanted = useValue(keyWanted);
  const at = useValue(nextTry);
  const [now, tick] = useState(Date.now());
  const isShown = state === "lost" || state === "slow";
  useEffect(() => {
    if (!isShown) return;
    tick(Date.now());
    const timer = setInterval(() => tick(Date.now()), 500);
    return () => clearInterval(timer);
  }, [isShown, at]);
  if (!isShown || wanted !== "no") return null;
  const news = lastNews.get();
  const since = news ? `What you see is of ${time(news / 1e3)} UTC.` : "Nothing has been received yet.";
  const left = Math.max(0, Math.ceil((at - now) / 1000));
  return (
    <div class={`banner ${state === "lost" ? "fail" : "warn"}`} role="alert">
      <b>{state === "lost" ? "No connection to the service." : "The connection is slow."}</b>
      <span>{since}</span>
      {state === "lost" && (
        <>
          <span aria-hidden="true">Next attempt in {left} s.</span>
          <button type="button" onClick={tryNow}>
            Try now
          </button>
        </>
      )}
    </div>
  );
}

function KeyDialog() {
  const wanted = useValue(keyWanted);
  const [key, write] = useState("");
  if (wanted === "no") return null;
  return (
    <Dialog title="API key" onClose={() => undefined}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (key) keepKey(key);
          write("");
        }}
      >
        <p class="note">This service asks for a key. It stays in this tab until you close it, and never stands in an address.</p>
        {wanted === "wrong" && apiKey() !== null && (
          <p class="fault" role="alert">
            The service does not know this key.
          </p>
        )}
        <Input label="Key" type="password" value={key} onValue={write} autocomplete="current-password" isFirst />
        <div class="actions">
          <button type="submit" class="primary" disabled={key === ""}>
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ["1 … 7", "the pages, in their order"],
  ["p", "choose the pair"],
  ["l", "to the order book"],
  ["↑ ↓", "in the book: from price to price"],
  ["b / s", "in the book: buy or sell the ticket's amount at this price"],
  ["Enter", "in the book: join this side at this price"],
  ["+ / −", "in the book: move your order here by a tick"],
  ["x", "in the book: cancel your orders at this price"],
  ["Shift + X", "cancel all orders of the pair"],
  ["?", "this list"],
];

function Shortcuts({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <div class="actions">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

/** Tell whether a key belongs to what is being written, or to a dialog. */
export function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.closest("input, select, textarea, dialog") !== null || target.isContentEditable);
}

function useShortcuts(help: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
      const number = Number(event.key);
      if (number >= 1 && number <= PAGES.length) go(PAGES[number - 1]![0]);
      else if (event.key === "?") help();
      else if (event.key === "p") document.getElementById("pair")?.focus();
      else if (event.key === "l") document.querySelector<HTMLElement>(".ladder [tabindex='0']")?.focus();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}
