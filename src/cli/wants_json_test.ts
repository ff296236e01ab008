import assert from "node:assert/strict";
import { wantsJson } from "./wants_json.ts";

Deno.test("errors are JSON when the line asks for it, whatever else is wrong with it", () => {
  assert(wantsJson(["task", "lst", "--json"]));
  assert(wantsJson(["submit", "--json=true", "--nonsense"]));
  assert(wantsJson(["task", "list", "--peer.insecure=x", "--peer", "--json"]));
  assert(!wantsJson(["task", "list"]));
  assert(!wantsJson(["task", "list", "--no-json"]));
  assert(!wantsJson(["task", "list", "--json=false"]));
  assert(!wantsJson(["submit", "--", "curl", "--json"]));
});
