import assert from "node:assert/strict";
import { join } from "node:path";
import { makeAuthority } from "../../tests/support/openssl.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { systemClock } from "../base/clock.ts";
import { aborted } from "../base/lifetimes.ts";
import { readCredentials } from "./credentials.ts";

Deno.test("files that are rewritten in place are noticed by their size or their times, and tried again", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const caFile = join(folder.path, "trusted.crt");
  const pem = await Deno.readTextFile(ca.caFile);
  const certificates = (count: number) => pem.repeat(count);
  await Deno.writeTextFile(caFile, certificates(1));
  const { mtime: written } = await Deno.stat(caFile);

  // Some systems and network file systems have no time of change; then either of the others tells.
  const { stat } = Deno;
  Deno.stat = async (path) => ({ ...await stat(path), ctime: null });
  const stop = new AbortController();
  // The files are looked at when the test says so: never between a write and the setting of its time.
  let next = Promise.withResolvers<void>();
  let looked = Promise.withResolvers<void>();
  const sleep = async (_ms: number, signal?: AbortSignal) => {
    looked.resolve();
    await Promise.race([next.promise, aborted(signal!)]);
  };
  const look = async () => {
    looked = Promise.withResolvers();
    next.resolve();
    next = Promise.withResolvers();
    await looked.promise;
  };
  const env = { clock: { ...systemClock, sleep }, log: silentLog };
  let read = 0;
  const credentials = await readCredentials(
    { mode: "mtls", clientCaFile: caFile, skipVerify: false },
    { changed: () => read++ },
  );
  const following = credentials.follow(env, stop.signal);
  try {
    await looked.promise;
    assert.equal(read, 0);
    // Restored from a backup that keeps times: only the size differs.
    await rewrite(caFile, certificates(2), written!);
    await look();
    assert.equal(read, 1);
    await look();
    assert.equal(read, 1);
    // Another certificate of the same length: only the time differs.
    await rewrite(caFile, certificates(2), new Date(written!.getTime() + 5_000));
    await look();
    assert.equal(read, 2);
    // What failed twice is tried again after a while, though nothing shows that it has changed.
    const later = new Date(written!.getTime() + 10_000);
    await rewrite(caFile, "x".repeat(certificates(3).length), later);
    for (let n = 0; n < 2; n++) await look();
    await rewrite(caFile, certificates(3), later);
    for (let n = 0; n < 30; n++) await look();
    assert.equal(read, 3);
  } finally {
    Deno.stat = stat;
    stop.abort();
    await following;
  }
});

async function rewrite(path: string, text: string, at: Date): Promise<void> {
  await Deno.writeTextFile(path, text);
  await Deno.utime(path, at, at);
}
