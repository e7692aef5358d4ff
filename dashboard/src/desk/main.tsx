/** Entry of the live dashboard. */

import { render } from "preact";

import { keepMarket } from "../live/market";
import { isMarketMoving, keepState } from "../live/state";
import { startStream } from "../live/stream";
import { Shell } from "./shell";
import "./style.css";

keepState();
keepMarket();
startStream(isMarketMoving);
const page = document.getElementById("page")!;
page.replaceChildren();
render(<Shell />, page);
