/**
 * A signal that aborts with the first of several, with its reason. Dispose it when it is no longer
 * needed, else the others keep it.
 *
 * Replaces `AbortSignal.any`: up to Deno 2.7 the result of that is collected while it still has
 * listeners, which then never see the abort. This can go when 2.9 is the oldest supported version.
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
