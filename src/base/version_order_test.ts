import assert from "node:assert/strict";
import { isNewer } from "./version_order.ts";

Deno.test("versions are ordered by their numbers, and a release comes after its previews", () => {
  const ordered = [
    ...["0.1.0", "0.9.0", "0.10.0-alpha", "0.10.0-alpha.1", "0.10.0-alpha.beta", "0.10.0-rc.2"],
    ...["0.10.0-rc.11", "0.10.0", "0.10.1", "1.0.0", "2.0.0", "10.0.0"],
  ];
  for (const [at, version] of ordered.entries()) {
    for (const [before, other] of ordered.entries()) {
      assert.equal(isNewer(version, other), at > before, `${version} after ${other}`);
    }
  }
});

Deno.test("builds of one version, and what is no version, have no order", () => {
  assert.equal(isNewer("1.0.0+b", "1.0.0+a"), false);
  assert.equal(isNewer("newest", "1.0.0"), false);
  assert.equal(isNewer("1.0.0", ""), false);
});
