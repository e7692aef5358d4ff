export function SessionPage() {
  return <p>Session</p>;
}
