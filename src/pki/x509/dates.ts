/** A date as people read it. */
export function day(date: Date | string): string {
  return (typeof date === "string" ? date : date.toISOString()).slice(0, 10);
}
