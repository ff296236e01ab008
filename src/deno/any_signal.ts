/**
 * A signal that aborts with the first of several, with its reason. Dispose it when it is no longer
 * wanted, else the others keep it.
 *
 * Stands in for `AbortSignal.any`: up to Deno 2.7 the result of that is collected while somebody
 * still listens to it, and the abort is never heard.
 */
export function anySignal(...signals: AbortSignal[]): AbortSignal & Disposable {
  const first = new AbortController();
  const release = () => {
    for (const signal of signals) signal.removeEventListener("abort", abort);
  };
  function abort() {
    release();
    first.abort(signals.find((signal) => signal.aborted)?.reason);
  }
  for (const signal of signals) signal.addEventListener("abort", abort, { once: true });
  if (signals.some((signal) => signal.aborted)) abort();
  return Object.assign(first.signal, { [Symbol.dispose]: release });
}
