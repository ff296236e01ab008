import assert from "node:assert/strict";
import { join } from "node:path";
import { notKept } from "../../tests/support/node_api.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { systemClock } from "../base/clock.ts";
import { newToken } from "./identity.ts";
import { sessionFile } from "./kept_sessions.ts";
import { Sessions } from "./sessions.ts";

const dayMs = 86_400_000;

/** A node that can be restarted, with a clock that is set. */
async function restartable() {
  const folder = await temporaryFolder();
  const at = { ms: Date.UTC(2026, 0, 1), token: newToken() };
  const clock = {
    now: () => at.ms,
    monotonic: () => at.ms,
    sleep: () => Promise.reject(new Error("not used")),
  };
  const path = join(folder.path, "sessions.json");
  return {
    at,
    path,
    start: () =>
      new Sessions({
        clock,
        token: () => at.token,
        file: sessionFile(folder.path, silentLog),
      }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

Deno.test("a session outlives a restart, and ends where it should", async () => {
  await using node = await restartable();
  const first = node.start();
  const [kept, left] = [first.open(node.at.token)!, first.open(node.at.token)!];
  first.close(left);
  const second = node.start();
  assert.ok(second.isOpen(kept));
  assert.ok(!second.isOpen(left));
  // Each use prolongs it, also on disk.
  node.at.ms += 6 * dayMs;
  assert.ok(second.isOpen(kept));
  node.at.ms += 6 * dayMs;
  assert.ok(node.start().isOpen(kept));
  node.at.ms += 8 * dayMs;
  assert.ok(!node.start().isOpen(kept));
});

Deno.test("a new token ends all sessions, also one that is made while the node is stopped", async () => {
  await using node = await restartable();
  const session = node.start().open(node.at.token)!;
  assert.ok(node.start().isOpen(session));
  node.at.token = newToken();
  assert.ok(!node.start().isOpen(session));
  const running = node.start();
  const other = running.open(node.at.token)!;
  node.at.token = newToken();
  running.closeAll();
  assert.ok(!running.isOpen(other));
  assert.ok(!node.start().isOpen(other));
});

Deno.test("the file holds no session and no token, and only its owner reads it", async () => {
  await using node = await restartable();
  const session = node.start().open(node.at.token)!;
  const text = await Deno.readTextFile(node.path);
  assert.ok(!text.includes(session) && !text.includes(node.at.token), text);
  assert.equal((await Deno.stat(node.path)).mode! & 0o777, 0o600);
  const { sessions: [only] } = JSON.parse(text);
  assert.ok(!node.start().isOpen(only.hash), "the hash is no session");
});

Deno.test("a file that is damaged, or was written by a clock ahead, lets nobody in for longer", async () => {
  await using node = await restartable();
  const session = node.start().open(node.at.token)!;
  node.at.ms -= 365 * dayMs;
  assert.ok(node.start().isOpen(session));
  node.at.ms += 8 * dayMs;
  assert.ok(!node.start().isOpen(session));
  for (const damaged of ["", "{", '{"sessions": 3}', '{"token_hash": "x", "sessions": []}']) {
    await Deno.writeTextFile(node.path, damaged);
    assert.ok(!node.start().isOpen(session));
  }
});

Deno.test("wrong tokens are counted for all addresses that one host can choose from", () => {
  const sessions = new Sessions({
    clock: systemClock,
    token: () => "t".repeat(43),
    file: notKept,
  });
  for (let n = 0; n < 20; n++) sessions.wrongGuess(`2001:db8:1:2::${n.toString(16)}`);
  assert.ok(sessions.waitMs("2001:db8:1:2:ffff::1") > 0, "another address of the same /64");
  assert.equal(sessions.waitMs("2001:db8:1:3::1"), 0, "another /64");
  for (let n = 0; n < 20; n++) sessions.wrongGuess("192.0.2.1");
  assert.ok(sessions.waitMs("192.0.2.1") > 0);
  assert.equal(sessions.waitMs("192.0.2.2"), 0);
});
