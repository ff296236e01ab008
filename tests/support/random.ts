/** Random numbers repeatable by a seed, which a failing test prints. Marsaglia's xorshift. */
export interface Random {
  seed: number;
  /** An integer from 0 to `end` - 1. */
  below(end: number): number;
  pick<T>(items: readonly T[]): T;
}

export function random(seed = Date.now() % 0x7fffffff || 1): Random {
  let state = seed;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (end: number) => next() % end;
  return { seed, below, pick: (items) => items[below(items.length)]! };
}
