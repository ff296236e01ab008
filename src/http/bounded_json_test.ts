import assert from "node:assert/strict";
import { parseBoundedJson } from "./bounded_json.ts";

const parse = (text: string) => parseBoundedJson(new TextEncoder().encode(text));
const longest = 2 * 1024 * 1024;

Deno.test("JSON that costs more than its size says is refused before it is parsed", () => {
  const fields = Array.from({ length: 150_000 }, (_, i) => `"key${i}":1`).join();
  for (const text of [`{${fields}}`, `[${"1,".repeat(longest / 2)}1]`, "[{}".repeat(longest / 3)]) {
    const start = performance.now();
    assert.throws(() => parse(text), /more than \d+ (values|levels)/);
    const took = performance.now() - start;
    assert.ok(took < 100, `took ${took} ms`);
  }
});

Deno.test("large strings and the largest requests are parsed, whatever their strings contain", () => {
  const odd = `,[{"\\`;
  const task = { argv: Array.from({ length: 10_000 }, () => odd), env: { A: odd.repeat(100_000) } };
  assert.deepEqual(parse(JSON.stringify(task)), task);
  assert.throws(() => parse('"never closed'), SyntaxError);
  assert.throws(() => parseBoundedJson(new Uint8Array([0x22, 0xff, 0x22])), TypeError);
});
