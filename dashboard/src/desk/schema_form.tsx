/** A form made of a JSON schema: parameters of strategies, scenarios and markets. */

import type { Schema } from "../live/types";
import { words } from "./figures";
import { faultsOf, firstText, resolved, type Written } from "./schema";
import { Input, Select } from "./widgets";

interface Props {
  schema: Schema;
  written: Written;
  onWritten: (written: Written) => void;
}

/** Return a property's name in words, without the unit at its end when that stands beside it. */
function labelOf(name: string, unit: string | undefined): string {
  return words(unit && name.endsWith(`_${unit}`) ? name.slice(0, -unit.length - 1) : name);
}

export function SchemaForm({ schema, written, onWritten }: Props) {
  const faults = faultsOf(written, schema);
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) return <p class="note">It has no parameters.</p>;
  return (
    <div class="form">
      {properties.map(([name, given]) => {
        const property = resolved(given, schema);
        const text = written[name] ?? firstText(property);
        const set = (value: string): void => onWritten({ ...written, [name]: value });
        const hint = (
          <>
            {property.description}
            {faults[name] && written[name] !== undefined && <b class="sell"> {faults[name]}</b>}
          </>
        );
        const choices = property.enum ?? (property.type === "boolean" ? [false, true] : null);
        if (choices) {
          return <Select key={name} label={words(name)} value={text} hint={hint} options={choices.map((each) => [String(each), words(String(each))] as const)} onValue={set} />;
        }
        return <Input key={name} label={labelOf(name, property.unit)} {...(property.unit ? { unit: property.unit } : {})} value={text} onValue={set} inputMode="decimal" hint={hint} />;
      })}
    </div>
  );
}
