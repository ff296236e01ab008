import assert from "node:assert/strict";
import { tlsLab } from "../../../tests/support/tls.ts";
import { readTlsSettings } from "../directory/settings.ts";
import { initTls } from "./init.ts";
import { disable, enable } from "./switch.ts";

Deno.test("disable and enable leave config.yaml as it was, byte for byte", async () => {
  await using lab = await tlsLab();
  const host = lab.host("a");
  await initTls(host);
  const path = `${host.root}/config.yaml`;
  for (const auto of [true, false]) {
    const written = (await Deno.readTextFile(path))
      .replace(/auto_on_non_loopback: \w+/, `auto_on_non_loopback: ${auto}`);
    await Deno.writeTextFile(path, written);
    await disable(host);
    await disable(host);
    const off = await readTlsSettings(host.root);
    assert.deepEqual([off.enabled, off.autoOnNonLoopback], [false, false]);
    await enable(host);
    assert.equal(await Deno.readTextFile(path), written);
  }
});

Deno.test("init after disable switches on all that disable switched off", async () => {
  await using lab = await tlsLab();
  const host = lab.host("a");
  await initTls(host);
  const before = await Deno.readTextFile(`${host.root}/config.yaml`);
  await disable(host);
  await initTls(host);
  assert.equal(await Deno.readTextFile(`${host.root}/config.yaml`), before);
});
