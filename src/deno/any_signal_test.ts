import assert from "node:assert/strict";
import { anySignal } from "./any_signal.ts";

Deno.test("anySignal aborts with the reason of the first", () => {
  const [one, other] = [new AbortController(), new AbortController()];
  using either = anySignal(one.signal, other.signal);
  other.abort("told so");
  one.abort("too late");
  assert.equal(either.reason, "told so");
});

Deno.test("anySignal is aborted at once where one of them is", () => {
  using either = anySignal(new AbortController().signal, AbortSignal.abort("before"));
  assert.equal(either.reason, "before");
});

Deno.test("anySignal does not abort any more once it is disposed", () => {
  const one = new AbortController();
  const either = anySignal(one.signal);
  either[Symbol.dispose]();
  one.abort();
  assert.equal(either.aborted, false);
});

Deno.test("many followers of one signal cost no more each than few", () => {
  const timed = (count: number) => {
    const source = new AbortController();
    const began = performance.now();
    const all = Array.from({ length: count }, () => anySignal(source.signal));
    for (const each of all) each[Symbol.dispose]();
    return performance.now() - began;
  };
  timed(1_000);
  const [few, many] = [timed(1_000), timed(20_000)];
  // Where each looks through all others this is 400.
  assert.ok(many < 100 * few, `${few} ms for 1,000, ${many} ms for 20,000`);
});
