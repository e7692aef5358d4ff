/** Entry of the live dashboard. */

import { render } from "preact";

import { learnAbilities } from "../live/api";
import { keepMarket } from "../live/market";
import { isMarketMoving, keepState } from "../live/state";
import { connection, startStream } from "../live/stream";
import { Shell } from "./shell";
import "./style.css";

const learn = (): void => void learnAbilities().catch(() => undefined);
learn();
connection.watch(learn);
keepState();
keepMarket();
startStream(isMarketMoving);
const page = document.getElementById("page")!;
page.replaceChildren();
render(<Shell />, page);
