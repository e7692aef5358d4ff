/** A small line over the last readings. */

import { useCanvas } from "./canvas";

export function Spark({ values, label, tone = "accent" }: { values: readonly number[]; label: string; tone?: string }) {
  const [canvas] = useCanvas(({ context: c, width, height, colour }) => {
    if (values.length < 2) return;
    const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-12)];
    const x = (k: number): number => (k / (values.length - 1)) * (width - 2) + 1;
    const y = (value: number): number => height - 3 - ((value - low) / (high - low || 1)) * (height - 6);
    c.beginPath();
    values.forEach((value, k) => (k ? c.lineTo(x(k), y(value)) : c.moveTo(x(k), y(value))));
    c.strokeStyle = colour(tone);
    c.lineWidth = 1.5;
    c.stroke();
    c.lineTo(x(values.length - 1), height);
    c.lineTo(x(0), height);
    c.globalAlpha = 0.12;
    c.fillStyle = colour(tone);
    c.fill();
    c.globalAlpha = 1;
  });
  return <canvas ref={canvas} class="spark" role="img" aria-label={label} />;
}
