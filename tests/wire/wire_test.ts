/** What the last release says is still understood, and what it expects is still said. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { nodeAnswer } from "../../src/mesh/protocol.ts";
import { type Shape, shapeOf, type Surface, surface } from "./surface.ts";
import released from "./released.json" with { type: "json" };

const last = released as Surface;
const now = surface();

/** What of `before` is missing or has another type. */
function lost(before: Shape, after: Shape): string[] {
  return Object.entries(before)
    .filter(([field, type]) => after[field] !== type && after[field] !== type.split(",")[0])
    .map(([field, type]) => `${field}: ${type}, now ${after[field] ?? "missing"}`);
}

Deno.test("requests of the last release are accepted: same paths, parameters and bodies", () => {
  assert.deepEqual(lost(last.requests, now.requests), []);
  const demanded = Object.entries(now.requests).filter(([field, type]) =>
    type.endsWith(", required") && last.requests[field] === undefined &&
    // Of a path that it knows.
    last.requests[field.split(" ").slice(0, 2).join(" ")] !== undefined
  );
  assert.deepEqual(demanded, [], "the last release does not send these");
});

Deno.test("answers have all fields of the last release, with their types", () => {
  for (const [name, shape] of Object.entries(last.answers)) {
    assert.deepEqual(lost(shape, now.answers[name] ?? {}), [], name);
  }
});

Deno.test("nodes of the last release and of this one understand each other", () => {
  v.parse(nodeAnswer, last.node);
  v.parse(nodeAnswer, now.node);
  assert.deepEqual(lost(shapeOf(last.node), shapeOf(now.node)), []);
});
