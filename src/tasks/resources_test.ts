import assert from "node:assert/strict";
import { hasResources, parseResource, showResources } from "./resources.ts";

Deno.test("resources are read, compared, and shown", () => {
  assert.deepEqual(parseResource("gpu=2"), ["gpu", 2]);
  for (const bad of ["gpu", "gpu=", "=2", "GPU=1", "gpu=-1", "gpu=1025", "gpu=1.5", "a b=1"]) {
    assert.equal(parseResource(bad), undefined, bad);
  }
  assert.ok(hasResources({ gpu: 2 }, { gpu: 2 }) && hasResources(undefined, undefined));
  assert.ok(
    !hasResources({ gpu: 2 }, { gpu: 2, license: 1 }) && !hasResources(undefined, { gpu: 1 }),
  );
  assert.equal(showResources({ gpu: 2, license: 1 }), "gpu=2 license=1");
});
