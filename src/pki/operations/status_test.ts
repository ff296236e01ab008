import assert from "node:assert/strict";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { dayMs, modeOf, output, type TlsLab, tlsLab } from "../../../tests/support/tls.ts";
import type { InstallPki as Pki } from "./install.ts";
import { importCa } from "./import.ts";
import { initTls } from "./init.ts";
import { install } from "./install.ts";
import { mint } from "./mint.ts";
import { type Certificate, readCertificates } from "../x509/inspect.ts";
import { renewCa } from "./renew.ts";
import { reportStatus } from "./report.ts";
import { disable } from "./switch.ts";

async function peerOf(lab: TlsLab, holder: Pki, name: string, hostnames: string[] = []) {
  const at = lab.at(`${name}-tls`);
  const peer = lab.host(name);
  await mint(holder, { out: at, hostnames });
  await install(peer, { cert: `${at}/server.crt`, key: `${at}/server.key`, ca: `${at}/ca.crt` });
  return peer;
}

const codes = async (pki: Pki) =>
  (await reportStatus(pki, { repair: false })).warnings.map(({ code }) => code);

Deno.test("a healthy holder and a healthy peer have no warning", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  await initTls(holder);
  const report = await reportStatus(holder, { repair: false });
  assert.deepEqual(report.warnings, []);
  assert.equal(report.host, "ca_holder");
  const peer = await peerOf(lab, holder, "b");
  const seen = await reportStatus(peer, { repair: false });
  assert.deepEqual([seen.host, seen.warnings, seen.notes.length], ["peer", [], 1]);
});

Deno.test("each problem has its warning and the command that fixes it", async () => {
  const cases: [string, (lab: TlsLab, a: Pki, b: Pki) => unknown, "a" | "b", string, RegExp][] = [
    ["switched off", (_lab, a) => disable(a), "a", "disabled", /^agent tls enable$/],
    [
      "a key that others can read",
      (_lab, a) => Deno.chmod(`${a.root}/server.key`, 0o640),
      "a",
      "exposed",
      /^chmod 600 .*server\.key$/,
    ],
    [
      "a folder that others can read",
      (_lab, a) => Deno.chmod(`${a.root}/ca`, 0o755),
      "a",
      "exposed",
      /^chmod 700 .*ca$/,
    ],
    [
      "a key of another certificate",
      (_lab, a) => Deno.copyFile(`${a.root}/ca/ca.key`, `${a.root}/server.key`),
      "a",
      "key_mismatch",
      /^agent tls renew$/,
    ],
    [
      "a missing key",
      (_lab, _a, b) => Deno.remove(`${b.root}/server.key`),
      "b",
      "key_missing",
      /^agent tls request/,
    ],
    [
      "a missing certificate",
      (_lab, a) => Deno.remove(`${a.root}/server.crt`),
      "a",
      "certificate_missing",
      /^agent tls init$/,
    ],
    [
      "a damaged certificate",
      (_lab, a) => Deno.writeTextFile(`${a.root}/server.crt`, "rubbish"),
      "a",
      "damaged",
      /^agent tls renew$/,
    ],
    [
      "a folder in the place of the CA's certificate",
      async (_lab, _a, b) => {
        await Deno.remove(`${b.root}/ca/ca.crt`);
        await Deno.mkdir(`${b.root}/ca/ca.crt`);
      },
      "b",
      "damaged",
      /^ls -l .*ca\.crt$/,
    ],
    [
      "another CA's key",
      (_lab, a) => Deno.copyFile(`${a.root}/server.key`, `${a.root}/ca/ca.key`),
      "a",
      "key_mismatch",
      /copy/,
    ],
    [
      "a stale bundle",
      (_lab, a) => Deno.remove(`${a.root}/ca-bundle.crt`),
      "a",
      "bundle_stale",
      /^agent tls status$/,
    ],
    [
      "a certificate of the previous CA",
      async (_lab, a, b) => {
        await renewCa(a, {});
        await install(b, { ca: `${a.root}/ca/ca.crt` });
      },
      "b",
      "previous_ca",
      /^agent tls request/,
    ],
    [
      "no trusted CA",
      async (_lab, _a, b) => {
        await Deno.remove(`${b.root}/ca/ca.crt`);
        await Deno.remove(`${b.root}/ca-bundle.crt`);
      },
      "b",
      "nothing_trusted",
      /^agent tls install --ca FILE$/,
    ],
    [
      "a damaged import",
      async (lab, a, b) => {
        const other = lab.host("other");
        await initTls(other);
        await importCa(b, `${other.root}/ca/ca.crt`, "lab-b");
        await Deno.writeTextFile(`${b.root}/trusted/lab-b.crt`, "rubbish");
        await Deno.writeTextFile(
          `${b.root}/ca-bundle.crt`,
          await Deno.readTextFile(`${a.root}/ca-bundle.crt`),
        );
      },
      "b",
      "damaged",
      /^rm .*lab-b\.crt$/,
    ],
  ];
  await using lab = await tlsLab();
  for (const [index, [what, harm, which, code, command]] of cases.entries()) {
    const a = lab.host(`a${index}`);
    await initTls(a);
    const b = await peerOf(lab, a, `b${index}`);
    await harm(lab, a, b);
    const { warnings } = await reportStatus({ a, b }[which], { repair: false });
    assert.deepEqual(warnings.map((warning) => warning.code), [code], what);
    assert.match(warnings[0]!.command, command, what);
  }
});

Deno.test("dates: nothing until 30 days before the end, then a warning, then an expiry", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  await initTls(holder);
  const after = (days: number) => codes({ ...holder, now: () => Date.now() + days * dayMs });
  assert.deepEqual(await after(790), []);
  assert.deepEqual(await after(800), ["expires_soon"]);
  assert.deepEqual(await after(826), ["expired"]);
  assert.deepEqual(await after(3640), ["expires_soon", "expired"]);
  assert.deepEqual(await after(-1), ["not_yet_valid", "not_yet_valid"]);

  const [{ notBefore, notAfter }] = await readCertificates(`${holder.root}/server.crt`) as [
    Certificate,
  ];
  const edges: [at: number, warned: RegExp | undefined][] = [
    [notBefore.getTime(), undefined],
    [notAfter.getTime() - 30 * dayMs, undefined],
    [notAfter.getTime() - 30 * dayMs + 1, /expires in 29 days$/],
    [notAfter.getTime() - 2 * dayMs, /expires in 2 days$/],
    [notAfter.getTime() - 2 * dayMs + 1, /expires in 1 day$/],
    [notAfter.getTime() - dayMs, /expires in 1 day$/],
    [notAfter.getTime() - dayMs + 1, /expires in 0 days$/],
    [notAfter.getTime(), /expires in 0 days$/],
    [notAfter.getTime() + 1, /expired on/],
  ];
  for (const [at, warned] of edges) {
    const { warnings } = await reportStatus({ ...holder, now: () => at }, { repair: false });
    const told = warnings.map(({ message }) => message);
    if (warned === undefined) assert.deepEqual(told, []);
    else assert.match(told.join(), warned, `${at - notAfter.getTime()} ms after the end`);
  }
  const { warnings } = await reportStatus(
    { ...holder, now: () => notBefore.getTime() - 1 },
    { repair: false },
  );
  assert.ok(warnings.some(({ code }) => code === "not_yet_valid"));
});

Deno.test("names that the certificate lacks are told with the flags that add them", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  await initTls(holder);
  const moved = lab.host("a", { detected: { hostnames: ["renamed"], ips: ["10.1.1.1"] } });
  const { warnings } = await reportStatus(moved, { repair: false });
  assert.deepEqual(warnings.map(({ command }) => command), [
    "agent tls renew --add-hostname renamed --add-ip 10.1.1.1",
  ]);
  const peer = await peerOf(lab, holder, "b", ["b.lan"]);
  assert.deepEqual((await reportStatus(peer, { repair: false })).warnings.map((w) => w.command), [
    "agent tls request -o request.csr",
  ]);
});

Deno.test("a stale bundle is rebuilt, unless nothing may be written", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  await Deno.writeTextFile(`${pki.root}/ca-bundle.crt`, "stale");
  const before = snapshot(pki.root);
  await reportStatus(pki, { repair: false });
  assert.deepEqual(snapshot(pki.root), before);
  const report = await reportStatus(pki, { repair: true });
  assert.deepEqual([report.bundle_rebuilt, report.warnings], [true, []]);
  assert.equal((await reportStatus(pki, { repair: true })).bundle_rebuilt, false);
});

Deno.test("a host without certificates is told how to get some", async () => {
  await using lab = await tlsLab();
  const report = await reportStatus(lab.host("a"), { repair: true });
  assert.deepEqual(report.warnings.map(({ code }) => code), ["not_set_up"]);
  await assert.rejects(Deno.stat(lab.at("a")), Deno.errors.NotFound);
});

Deno.test("the file that a link leads to keeps the mode that its owner gave it", async () => {
  await using lab = await tlsLab();
  const a = lab.host("a");
  await initTls(a);
  const key = lab.at("company.key");
  await Deno.rename(`${a.root}/server.key`, key);
  await Deno.symlink(key, `${a.root}/server.key`);
  await Deno.chmod(key, 0o640);
  await disable(a);
  assert.equal(await modeOf(key), 0o640);
  const codes = (await reportStatus(a, { repair: false })).warnings.map(({ code }) => code);
  assert.deepEqual(codes, ["disabled"]);
  await Deno.chmod(key, 0o644);
  const { warnings } = await reportStatus(a, { repair: false });
  assert.deepEqual(warnings.map(({ code }) => code), ["exposed", "disabled"]);
});

Deno.test("a command to paste means the path that it names, blanks and all", async () => {
  await using lab = await tlsLab();
  const a = { ...lab.host("a"), root: lab.at("it's a") };
  await initTls(a);
  await Deno.chmod(`${a.root}/server.key`, 0o644);
  const { warnings } = await reportStatus(a, { repair: false });
  await output("sh", ["-c", warnings[0]!.command]);
  assert.deepEqual((await reportStatus(a, { repair: false })).warnings, []);
});

Deno.test("a journal of another version is told with its file, until it is gone", async () => {
  await using lab = await tlsLab();
  const cases = ['{"version":9}', "rubbish", "null", '{"version":1,"changes":[{"path":7}]}'];
  for (const [index, text] of cases.entries()) {
    const a = lab.host(`a${index}`);
    await initTls(a);
    const journal = `${a.root}/.journal`;
    await Deno.writeTextFile(journal, text);
    await Deno.remove(`${a.root}/ca-bundle.crt`);
    for (const repair of [true, false]) {
      const { warnings } = await reportStatus(a, { repair });
      assert.deepEqual(warnings.map(({ code }) => code), ["interrupted"], text);
      assert.match(warnings[0]!.message, /\.journal" is not one that this version wrote$/);
      assert.equal(warnings[0]!.command, `rm ${journal}`);
    }
    await assert.rejects(disable(a), { code: "unknown_journal" });
    await Deno.remove(journal);
    assert.deepEqual((await reportStatus(a, { repair: true })).warnings, []);
  }
});

Deno.test("what keeps a stale bundle from being rebuilt is told", async () => {
  await using lab = await tlsLab();
  const faults = {
    before() {
      throw new Deno.errors.PermissionDenied("for the test");
    },
  };
  const a = lab.host("a");
  await initTls(a);
  await Deno.remove(`${a.root}/ca-bundle.crt`);
  const { warnings } = await reportStatus({ ...a, faults }, { repair: true });
  assert.deepEqual(warnings.map(({ code }) => code), ["bundle_stale"]);
  assert.match(warnings[0]!.message, /could not write .*: permission denied$/);
  assert.equal(warnings[0]!.command, `ls -ld ${a.root}`);
});
