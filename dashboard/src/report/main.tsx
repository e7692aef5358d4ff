/** Entry of the report: reads the data that stands in the page, and draws it. */

import { render } from "preact";

import { readReport } from "./data";
import { Page } from "./page";
import "./style.css";

const place = document.getElementById("page")!;
place.replaceChildren();
try {
  const report = readReport(document.getElementById("report-data")?.textContent);
  document.title = `Backtest report: ${report.runs.map((run) => run.strategy.name).join(", ")}`;
  render(<Page report={report} />, place);
  document.documentElement.dataset["ready"] = "true";
} catch (error) {
  place.className = "failure";
  place.textContent = error instanceof Error ? error.message : String(error);
}
