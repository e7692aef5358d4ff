/** A table whose cells are coloured by sign and size: blue gains, orange losses; every cell says its number too. */

import { strength } from "../report/scales";

export interface Cell {
  value: number | null;
  text: string;
  title: string;
  isOwn: boolean;
}

interface Props {
  caption: string;
  corner: string;
  columns: string[];
  rows: string[];
  cells: Cell[][];
  /** The largest size of a value, which has the full colour; heat maps that belong together share it. */
  most: number;
}

export function HeatMap({ caption, corner, columns, rows, cells, most }: Props) {
  return (
    <div class="scroll">
      <table class="heat">
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">{corner}</th>
            {columns.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, r) => (
            <tr key={row}>
              <th scope="row">{row}</th>
              {cells[r]!.map((cell, c) => {
                const share = cell.value === null ? 0 : strength(cell.value, most);
                const tint = share >= 0 ? "var(--gain)" : "var(--loss)";
                const background =
                  cell.value === null ? undefined : `color-mix(in srgb, ${tint} ${Math.abs(share * 62)}%, var(--surface))`;
                return (
                  <td key={c} class={cell.isOwn ? "own" : undefined} style={background ? { background } : {}} title={cell.title}>
                    {cell.text}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
