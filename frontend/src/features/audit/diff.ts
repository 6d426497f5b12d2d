/** What differs between two states of a thing, field by field; texts are shown as they are, all else as JSON. */

export interface Change {
  field: string;
  before: string | null;
  after: string | null;
}

type State = Record<string, unknown> | null;

export function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function changesOf(before: State, after: State): Change[] {
  const fields = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].sort();
  return fields.flatMap((field) => {
    const old = before !== null && field in before ? shown(before[field]) : null;
    const young = after !== null && field in after ? shown(after[field]) : null;
    return old === young ? [] : [{ field, before: old, after: young }];
  });
}
