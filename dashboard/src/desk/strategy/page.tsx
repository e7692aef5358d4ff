export function StrategyPage() {
  return <p>Strategy</p>;
}
