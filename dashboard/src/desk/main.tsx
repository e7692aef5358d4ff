/** Entry of the live dashboard. */

import { render } from "preact";

import { keepMarket } from "../live/market";
import { isMarketMoving, keepState } from "../live/state";
import { startStream } from "../live/stream";
import { Shell } from "./shell";
import "./style.css";

// With the markets known the stream is opened once, for the right one.
void keepState().then(() => startStream(isMarketMoving));
keepMarket();
const page = document.getElementById("page")!;
page.replaceChildren();
render(<Shell />, page);
