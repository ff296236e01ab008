/**
 * Number of letters to add, drop, change or swap with their neighbour to get from `a` to `b`. Our own,
 * because @std/text counts a swap as two changes, and then finds "tls mint" for "tls inti".
 */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(Math.min(
        change,
        last[j]! + 1,
        row[j - 1]! + 1,
        swapped ? before[j - 2]! + 1 : Infinity,
      ));
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * The known name that was most likely meant, or undefined if none is near. At most a third of the
 * letters may differ: with more, unrelated names are suggested.
 */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  const longest = 64; // Longer input is not a misspelt name, and the distance is quadratic.
  if (typed.length > longest) return undefined;
  // "--host" is the beginning of "--hostname" rather than a misspelt "--out".
  const starting = typed.length < 3 ? [] : [...known].filter((name) => name.startsWith(typed));
  if (starting.length === 1) return starting[0];
  let best: string | undefined;
  let least = Math.max(1, Math.floor(typed.length / 3)) + 1;
  for (const name of known) {
    const d = distance(typed.toLowerCase(), name.toLowerCase());
    if (d < least) [best, least] = [name, d];
  }
  return best;
}

/** `{ next: 'Did you mean "x"?' }`, or `otherwise` as the next step, or nothing. */
export function suggestion(
  typed: string,
  known: Iterable<string>,
  otherwise?: string,
): { next?: string } {
  const name = nearest(typed, known);
  if (name !== undefined) return { next: `Did you mean "${name}"?` };
  return otherwise === undefined ? {} : { next: otherwise };
}
