import assert from "node:assert/strict";
import { resourceVariables } from "./environment.ts";

Deno.test("a task reads from its environment which resources are its own", () => {
  assert.deepEqual(resourceVariables({ gpu: [0, 3], license: [1] }), {
    AGENT_RESOURCE_GPU: "0,3",
    CUDA_VISIBLE_DEVICES: "0,3",
    AGENT_RESOURCE_LICENSE: "1",
  });
});
