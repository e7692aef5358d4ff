export function DataPage() {
  return <p>Data</p>;
}
