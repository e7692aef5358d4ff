export function RiskPage() {
  return <p>Risk</p>;
}
