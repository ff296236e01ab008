import assert from "node:assert/strict";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { dayMs, modeOf, output, type TlsLab, tlsLab } from "../../../tests/support/tls.ts";
import { initTls } from "./init.ts";
import { readCertificates, readPair } from "../x509/inspect.ts";
import { install } from "./install.ts";
import { mint } from "./mint.ts";
import { reportStatus } from "./report.ts";
import { request } from "./request.ts";
import { readTlsSettings } from "../directory/settings.ts";

const filesIn = (folder: string) => ({
  cert: `${folder}/server.crt`,
  key: `${folder}/server.key`,
  ca: `${folder}/ca.crt`,
});

/** A CA on host a, and what it minted for b. */
async function minted(lab: TlsLab) {
  const holder = lab.host("a");
  await initTls(holder);
  const out = lab.at("b-tls");
  await mint(holder, { out, hostnames: ["b.lan"], ips: ["10.0.0.6"] });
  return { holder, peer: lab.host("b"), files: filesIn(out) };
}

Deno.test("install takes in what mint wrote, and switches TLS on", async () => {
  await using lab = await tlsLab();
  const { peer, files } = await minted(lab);
  const { server, caChanged } = await install(peer, files);
  assert.equal(caChanged, true);
  assert.deepEqual(server!.hostnames, ["b.lan", "localhost"]);
  const settings = await readTlsSettings(peer.root);
  assert.equal(settings.enabled, true);
  assert.deepEqual(settings.san, {
    hostnames: ["b.lan", "localhost"],
    ips: ["10.0.0.6", "127.0.0.1", "::1"],
  });
  await readPair(settings.serverCert, settings.serverKey);
  assert.equal(await modeOf(settings.serverKey), 0o600);
  assert.equal((await readCertificates(settings.caBundle)).length, 1);
  const before = snapshot(peer.root);
  await install(peer, files);
  assert.deepEqual(snapshot(peer.root), before);
});

Deno.test("a request without names asks for those found and those of the present certificate", async () => {
  await using lab = await tlsLab();
  const { peer, files } = await minted(lab);
  await install(peer, files);
  const renamed = lab.host("b", { detected: { hostnames: ["renamed"], ips: ["10.1.1.1"] } });
  assert.deepEqual((await request(renamed, { out: lab.at("b.csr") })).names, {
    hostnames: ["renamed", "b.lan", "localhost"],
    ips: ["10.1.1.1", "10.0.0.6", "127.0.0.1", "::1"],
  });
});

Deno.test("a request's key is promoted together with its answer", async () => {
  await using lab = await tlsLab();
  const { holder, peer } = await minted(lab);
  const csr = lab.at("b.csr");
  const first = await request(peer, { out: csr, hostnames: ["b.lan"] });
  const key = await Deno.readTextFile(first.pendingKey);
  assert.equal(await modeOf(first.pendingKey), 0o600);
  assert.equal((await request(peer, { out: csr })).keyKept, true);
  const out = lab.at("answer");
  await mint(holder, { out, csr, hostnames: ["b.lan"] });
  const files = { cert: `${out}/server.crt`, ca: `${out}/ca.crt` };
  assert.equal((await install(peer, files)).usedPendingKey, true);
  assert.equal(await Deno.readTextFile(`${peer.root}/server.key`), key);
  await assert.rejects(Deno.stat(first.pendingKey), Deno.errors.NotFound);
  await install(peer, files);
  await assert.rejects(install(peer, { cert: `${lab.at("b-tls")}/server.crt` }), {
    code: "no_key",
  });
});

Deno.test("nothing changes where anything does not hold", async () => {
  await using lab = await tlsLab();
  const { holder, peer, files } = await minted(lab);
  const other = lab.host("other");
  await initTls(other);
  const cases: [string, Parameters<typeof install>[1], string][] = [
    ["another key", { ...files, key: `${holder.root}/server.key` }, "key_mismatch"],
    ["another CA", { ...files, ca: `${other.root}/ca/ca.crt` }, "bad_chain"],
    ["a leaf as the CA", { ...files, ca: files.cert }, "not_a_ca"],
    ["the CA as the leaf", {
      cert: `${holder.root}/ca/ca.crt`,
      key: `${holder.root}/ca/ca.key`,
      ca: files.ca,
    }, "wrong_key_usage"],
    ["a key as the certificate", { ...files, cert: files.key }, "no_certificate"],
    ["a certificate as the key", { ...files, key: files.cert }, "no_key"],
    ["an absent file", { ...files, cert: lab.at("absent") }, "file_not_found"],
    ["a folder", { ...files, cert: lab.at("a") }, "file_unreadable"],
  ];
  for (const [what, options, code] of cases) {
    await assert.rejects(install(peer, options), { code }, what);
    await assert.rejects(Deno.stat(peer.root), Deno.errors.NotFound, what);
  }
  const later = (days: number) => ({ ...peer, now: () => Date.now() + days * dayMs });
  await assert.rejects(install(later(900), files), { code: "expired" });
  await assert.rejects(install(later(-2), files), { code: "not_yet_valid" });
  await install(peer, files);
  const before = snapshot(peer.root);
  for (const [what, options, code] of cases) {
    await assert.rejects(install(peer, options), { code }, what);
    assert.deepEqual(snapshot(peer.root), before, what);
  }
});

Deno.test("a certificate that is not for servers is refused", async () => {
  await using lab = await tlsLab();
  const { holder, peer } = await minted(lab);
  const make = async (name: string, usage: string) => {
    const at = (suffix: string) => lab.at(`${name}.${suffix}`);
    await Deno.writeTextFile(at("ext"), `extendedKeyUsage=${usage}\n`);
    await output(
      "openssl",
      ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
        .concat(["-keyout", at("key"), "-out", at("csr")]),
    );
    await output(
      "openssl",
      ["x509", "-req", "-in", at("csr"), "-days", "10", "-extfile", at("ext")]
        .concat(["-CA", `${holder.root}/ca/ca.crt`, "-CAkey", `${holder.root}/ca/ca.key`])
        .concat(["-CAserial", `${holder.root}/ca/ca.srl`, "-out", at("crt")]),
    );
    return { cert: at("crt"), key: at("key"), ca: `${holder.root}/ca/ca.crt` };
  };
  const client = await make("client", "clientAuth");
  await assert.rejects(install(peer, client), { code: "wrong_key_usage" });
  const server = await make("server", "serverAuth");
  assert.equal((await install(peer, server)).cannotSignIn, true);
});

Deno.test("a CA holder and a peer of another CA keep what they have unless forced", async () => {
  await using lab = await tlsLab();
  const { holder, peer, files } = await minted(lab);
  const other = lab.host("other");
  await initTls(other);
  await mint(other, { out: lab.at("foreign") });
  const foreign = filesIn(lab.at("foreign"));
  await install(peer, files);
  for (const host of [holder, peer]) {
    const before = snapshot(host.root);
    await assert.rejects(install(host, foreign), { exit: 3 });
    assert.deepEqual(snapshot(host.root), before);
  }
  await assert.rejects(install(holder, { ca: foreign.ca }), { exit: 3 });

  const [former] = await readCertificates(`${holder.root}/ca/ca.crt`);
  const formerKey = await Deno.readTextFile(`${holder.root}/ca/ca.key`);
  const forced = await install(holder, { ...foreign, force: true });
  assert.equal(await Deno.readTextFile(forced.formerCaKey!), formerKey);
  await assert.rejects(Deno.stat(`${holder.root}/ca/ca.key`), Deno.errors.NotFound);
  const trusted = await readCertificates(`${holder.root}/ca-bundle.crt`);
  assert.ok(trusted.every(({ fingerprint }) => fingerprint !== former!.fingerprint));
  assert.equal((await install(peer, { ...foreign, force: true })).formerCaKey, undefined);
});

Deno.test("--ca alone keeps the former CA trusted", async () => {
  await using lab = await tlsLab();
  const { peer, files } = await minted(lab);
  const other = lab.host("other");
  const { ca } = await initTls(other);
  await install(peer, files);
  const [former] = await readCertificates(files.ca);
  const { previous } = await install(peer, { ca: `${other.root}/ca/ca.crt` });
  const [kept] = await readCertificates(`${peer.root}/trusted/${previous}.crt`);
  assert.equal(kept!.fingerprint, former!.fingerprint);
  assert.match(previous!, /^previous-[0-9a-f]{16}$/);
  const bundle = await readCertificates(`${peer.root}/ca-bundle.crt`);
  assert.deepEqual(bundle.map(({ fingerprint }) => fingerprint), [
    ca.fingerprint,
    former!.fingerprint,
  ]);
  assert.equal((await install(peer, { ca: `${other.root}/ca/ca.crt` })).caChanged, false);
  const fresh = lab.host("fresh");
  await install(fresh, { ca: files.ca });
  assert.equal((await readTlsSettings(fresh.root)).enabled, false);
});

Deno.test("without a CA a fresh host takes its certificate and trusts nobody yet", async () => {
  await using lab = await tlsLab();
  const { peer, files } = await minted(lab);
  const { ca } = await install(peer, { cert: files.cert, key: files.key });
  assert.equal(ca, undefined);
  await assert.rejects(Deno.stat(`${peer.root}/ca-bundle.crt`), Deno.errors.NotFound);
  await install(peer, { ca: files.ca });
  assert.equal((await readCertificates(`${peer.root}/ca-bundle.crt`)).length, 1);
});

Deno.test("a CA file that was damaged or lost is put back by install", async () => {
  await using lab = await tlsLab();
  const { holder, peer, files } = await minted(lab);
  await install(peer, files);
  for (const { root } of [peer, holder]) {
    const file = `${root}/ca/ca.crt`;
    const before = snapshot(root);
    await Deno.writeTextFile(file, "rubbish");
    await assert.rejects(install(peer, { cert: files.cert, key: `${holder.root}/ca/ca.key` }));
    await install(root === peer.root ? peer : holder, { ca: files.ca });
    assert.deepEqual(snapshot(root), before);
    await Deno.remove(file);
    await install(root === peer.root ? peer : holder, { ca: files.ca });
    assert.deepEqual(snapshot(root), before);
  }
  await Deno.writeTextFile(`${peer.root}/ca/ca.crt`, "rubbish");
  await install(peer, files);

  // The holder's own CA comes back so, and no other.
  const other = lab.host("other");
  await initTls(other);
  await mint(other, { out: lab.at("other-tls") });
  for (const damage of [Deno.remove, (file: string) => Deno.writeTextFile(file, "rubbish")]) {
    await damage(`${holder.root}/ca/ca.crt`);
    const before = snapshot(holder.root);
    await assert.rejects(install(holder, filesIn(lab.at("other-tls"))), { exit: 3 });
    assert.deepEqual(snapshot(holder.root), before);
  }
});

Deno.test("no host's certificate is taken for a CA, wherever it was put by hand", async () => {
  await using lab = await tlsLab();
  const { holder, peer, files } = await minted(lab);
  await install(peer, files);
  await Deno.mkdir(`${peer.root}/trusted`, { mode: 0o700 });
  await Deno.copyFile(files.cert, `${peer.root}/trusted/b.crt`);
  const { warnings } = await reportStatus(peer, { repair: true });
  assert.match(warnings[0]!.command, /^rm .*trusted\/b\.crt$/);
  assert.equal(readCertificates(`${peer.root}/ca-bundle.crt`).length, 1);
  await Deno.copyFile(files.cert, `${holder.root}/ca/ca.crt`);
  const [warning] = (await reportStatus(holder, { repair: true })).warnings;
  assert.match(warning!.message, /is not a CA/);
  assert.equal(readCertificates(`${holder.root}/ca-bundle.crt`)[0]!.isCa, true);
});
