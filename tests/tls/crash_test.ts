import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { type CrashPoint, crashPoints, snapshot } from "../support/crash_points.ts";
import { tempHome } from "../support/home.ts";
import { type TlsLab, tlsLab } from "../support/tls.ts";
import { clean } from "../../src/pki/operations/clean.ts";
import type { InstallPki as Pki } from "../../src/pki/operations/install.ts";
import { importCa } from "../../src/pki/operations/import.ts";
import { initTls } from "../../src/pki/operations/init.ts";
import { readPair } from "../../src/pki/x509/inspect.ts";
import { install } from "../../src/pki/operations/install.ts";
import { mint } from "../../src/pki/operations/mint.ts";
import { distrustPrevious, renewCa, renewServer } from "../../src/pki/operations/renew.ts";
import { reportStatus } from "../../src/pki/operations/report.ts";
import { request } from "../../src/pki/operations/request.ts";
import { disable, enable } from "../../src/pki/operations/switch.ts";

/** The state of a host, and a command that changes it. */
interface Case {
  prepare: (lab: TlsLab, host: Pki) => Promise<unknown>;
  change: (lab: TlsLab, host: Pki) => Promise<unknown>;
}

const held = (lab: TlsLab) => ({
  cert: lab.at("b-tls/server.crt"),
  key: lab.at("b-tls/server.key"),
  ca: lab.at("b-tls/ca.crt"),
});

/** Another host's CA, and the certificate that it minted for this one. */
async function foreign(lab: TlsLab) {
  const ca = lab.host("ca");
  await initTls(ca);
  await mint(ca, { out: lab.at("b-tls") });
  return ca;
}

const cases: Record<string, Case> = {
  "init": { prepare: () => Promise.resolve(), change: (_lab, host) => initTls(host) },
  "init --hostname": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => initTls(host, { hostnames: ["more.lan"] }),
  },
  "init --force": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => initTls(host, { force: true }),
  },
  "mint": {
    prepare: (_lab, host) => initTls(host),
    change: (lab, host) => mint(host, { out: lab.at("minted") }),
  },
  "install": { prepare: foreign, change: (lab, host) => install(host, held(lab)) },
  "install --force": {
    prepare: async (lab, host) => {
      await initTls(host);
      await foreign(lab);
    },
    change: (lab, host) => install(host, { ...held(lab), force: true }),
  },
  "install --ca": {
    prepare: async (lab, host) => {
      await foreign(lab);
      await install(host, held(lab));
      await renewCa(lab.host("ca"), {});
    },
    change: (lab, host) => install(host, { ca: lab.at("ca/tls/ca/ca.crt") }),
  },
  "request": {
    prepare: () => Promise.resolve(),
    change: (lab, host) => request(host, { out: lab.at("request.csr") }),
  },
  "renew": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => renewServer(host, { addHostnames: ["more.lan"] }),
  },
  "renew --ca": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => renewCa(host, {}),
  },
  "renew --distrust-previous": {
    prepare: async (_lab, host) => {
      await initTls(host);
      await renewCa(host, {});
    },
    change: (_lab, host) => distrustPrevious(host),
  },
  "import-ca": {
    prepare: async (lab, host) => {
      await initTls(host);
      await foreign(lab);
    },
    change: (lab, host) => importCa(host, lab.at("ca/tls/ca/ca.crt")),
  },
  "disable": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => disable(host),
  },
  "enable": {
    prepare: async (_lab, host) => {
      await initTls(host);
      await disable(host);
    },
    change: (_lab, host) => enable(host),
  },
  "status": {
    prepare: async (_lab, host) => {
      await initTls(host);
      await Deno.writeTextFile(`${host.root}/ca-bundle.crt`, "stale");
    },
    change: (_lab, host) => reportStatus(host, { repair: true }),
  },
  "clean": {
    prepare: (_lab, host) => initTls(host),
    change: (_lab, host) => clean(host),
  },
};

for (const [name, { prepare, change }] of Object.entries(cases)) {
  Deno.test(`stopped at any write, tls ${name} has happened or has not`, async () => {
    await using lab = await tlsLab();
    const host = lab.host("host");
    await prepare(lab, host);
    const before = snapshot(host.root);
    const points = await crashPoints(
      host.root,
      lab.at("points"),
      (faults) => change(lab, { ...host, faults }),
    );
    const after = snapshot(host.root);
    assert.notDeepEqual(points, []);
    for (const point of points) await checkPoint(point, before, after, host);
  });
}

/** The state is the old or the new one once the next command has looked at it, and usable. */
async function checkPoint(
  { step, folder }: CrashPoint,
  before: Record<string, string>,
  after: Record<string, string>,
  host: Pki,
): Promise<void> {
  const crashed = { ...host, root: folder };
  // Every command does this first.
  await recover(crashed);
  const found = snapshot(folder);
  const isNew = sameState(found, after);
  if (!isNew) {
    assert.ok(sameState(found, before), `after "${step}" the state is neither the old nor the new`);
  }
  if ("server.crt" in found) await readPair(`${folder}/server.crt`, `${folder}/server.key`);
  if ("ca/ca.key" in found) {
    await readPair(`${folder}/ca/ca.crt`, `${folder}/ca/ca.key`);
    await renewServer(crashed, {});
  }
}

async function recover(pki: Pki): Promise<void> {
  const { lockFolder } = await import("../../src/base/fs/file_transaction.ts");
  await (await lockFolder(pki.root))[Symbol.asyncDispose]();
}

/** An empty folder left by a crash does not count as a state. */
function sameState(found: Record<string, string>, wanted: Record<string, string>): boolean {
  const files = (state: Record<string, string>) =>
    JSON.stringify(Object.entries(state).filter(([path]) => !path.endsWith("/")));
  return files(found) === files(wanted);
}

Deno.test("after kill -9 in the middle of renew --ca, the next command finishes it", async () => {
  await using lab = await tlsLab();
  const host = lab.host("host");
  await initTls(host);
  const former = await Deno.readTextFile(`${host.root}/ca/ca.crt`);
  const script = `
    import { renewCa } from ${
    JSON.stringify(new URL("../../src/pki/operations/renew.ts", import.meta.url))
  };
    let renames = 0;
    const faults = { before(step) {
      // The journal is the first rename: two of its files are in place, the others are not.
      if (step.startsWith("rename") && ++renames === 4) Deno.kill(Deno.pid, "SIGKILL");
    } };
    await renewCa({
      root: ${JSON.stringify(host.root)}, faults, now: () => Date.now(),
      detect: () => ({ hostname: "a", hostnames: [], ips: [], leftOut: [] }),
    }, {});`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const { signal } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--config", config, script],
    stderr: "null",
  }).output();
  assert.equal(signal, "SIGKILL");
  const report = await reportStatus(host, { repair: false });
  assert.equal(report.warnings[0]!.code, "interrupted");
  assert.deepEqual((await reportStatus(host, { repair: true })).warnings, []);
  assert.notEqual(await Deno.readTextFile(`${host.root}/ca/ca.crt`), former);
  await readPair(`${host.root}/ca/ca.crt`, `${host.root}/ca/ca.key`);
  await readPair(`${host.root}/server.crt`, `${host.root}/server.key`);
});

Deno.test({
  name: "what a command writes is on the disk before it takes its place, and stays in it",
  ...await component("strace", programs("strace")),
  async fn() {
    await using home = await tempHome();
    const trace = join(home.path, "trace");
    const calls = "fsync,fdatasync,rename,renameat,renameat2";
    const through = ["strace", "-f", "-y", "-e", `trace=${calls}`, "-o", trace];
    const ran = await agent.run(["tls", "init"], { home, through });
    assert.equal(ran.code, 0, ran.stderr);
    const synced = new Set<string>();
    /** Folders with names that a power cut could undo. */
    const unsure = new Set<string>();
    let renames = 0;
    let isJournalSure = true;
    for (const line of (await Deno.readTextFile(trace)).split("\n")) {
      const [, path] = /(?:fsync|fdatasync)\(\d+<([^>]+)>/.exec(line) ?? [];
      if (path !== undefined) {
        synced.add(path);
        unsure.delete(path);
        if (path === home.tls) isJournalSure = true;
      }
      const [, from, to] = /rename\w*\([^"]*"([^"]+)",[^"]*"([^"]+)"/.exec(line) ?? [];
      if (from === undefined || !from.startsWith(home.tls)) continue;
      renames++;
      assert.ok(synced.has(from), `${from} is renamed before it is synced`);
      // The journal is renamed last of what was prepared: nothing before it may be in doubt.
      const isJournal = to === join(home.tls, ".journal");
      if (isJournal) assert.deepEqual([...unsure], []);
      else assert.ok(isJournalSure, `${to} is changed before its journal is sure to stay`);
      isJournalSure = !isJournal;
      unsure.add(dirname(to!));
    }
    assert.ok(renames > 7, `${renames} renames`);
    assert.deepEqual([...unsure], []);
  },
});

Deno.test("commands at the same time run one after the other", async () => {
  await using lab = await tlsLab();
  const host = lab.host("host");
  await initTls(host);
  const added = Array.from({ length: 6 }, (_, i) => `n${i}.lan`);
  await Promise.all([
    ...added.map((name) => renewServer(host, { addHostnames: [name] })),
    ...added.map((name) => mint(host, { out: lab.at(name) })),
  ]);
  const { certificate } = await readPair(`${host.root}/server.crt`, `${host.root}/server.key`);
  assert.deepEqual(added.filter((name) => !certificate.hostnames.includes(name)), []);
});
