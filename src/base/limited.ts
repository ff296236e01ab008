/** Runs jobs, at most `most` at a time; the others wait for their turn. */
export function limited(most: number): <T>(job: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await job();
    } finally {
      // The next job takes this place at once: no new job can get in before it.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
