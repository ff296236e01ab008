import assert from "node:assert/strict";
import { isHostFailure } from "./host_failure.ts";

function thrownBy(call: () => unknown): unknown {
  try {
    return assert.fail(`No error, but ${call()}`);
  } catch (error) {
    return error;
  }
}

Deno.test({
  name: "an error of a host that has run out of something is told from one of the call",
  ignore: Deno.build.os !== "linux",
  fn() {
    using full = Deno.openSync("/dev/full", { write: true });
    const noSpace = thrownBy(() => full.writeSync(new Uint8Array(1)));
    // Errors of a start by Deno have the number in their text alone.
    assert.equal(isHostFailure(new Error((noSpace as Error).message)), true);
    assert.equal(isHostFailure(Object.assign(new Error("spawn"), { code: "EAGAIN" })), true);
    assert.equal(isHostFailure(thrownBy(() => Deno.openSync("/none/there"))), false);
    assert.equal(isHostFailure(Object.assign(new Error("spawn"), { code: "EACCES" })), false);
    assert.equal(isHostFailure("(os error 28)"), false);
  },
});
