import assert from "node:assert/strict";
import { type Account, folders } from "./folders.ts";

function of(os: Account["os"], uid: number | null, variables: Record<string, string>) {
  const { configRoot, stateRoot } = folders({ os, uid, variable: (name) => variables[name] });
  return [configRoot, stateRoot];
}

Deno.test("folders are where each system has them", () => {
  const HOME = "/home/ann";
  assert.deepEqual(of("linux", 0, { HOME: "/root" }), ["/etc/agent", "/var/lib/agent"]);
  assert.deepEqual(of("darwin", 0, {}), ["/etc/agent", "/var/lib/agent"]);
  assert.deepEqual(of("linux", 1000, { HOME }), [
    "/home/ann/.config/agent",
    "/home/ann/.local/state/agent",
  ]);
  const xdg = { HOME, XDG_CONFIG_HOME: "/c", XDG_STATE_HOME: "/s" };
  for (const uid of [0, 1000]) assert.deepEqual(of("linux", uid, xdg), ["/c/agent", "/s/agent"]);
  assert.deepEqual(of("linux", 1000, { HOME, XDG_CONFIG_HOME: "relative" }), [
    "/home/ann/.config/agent",
    "/home/ann/.local/state/agent",
  ]);
  assert.equal(
    of("darwin", 501, { HOME: "/Users/ann" })[0],
    "/Users/ann/Library/Application Support/agent",
  );
});

Deno.test("without a home it says what to set", () => {
  assert.throws(() => of("linux", 1000, {}), /HOME is not set/);
});
