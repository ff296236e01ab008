import assert from "node:assert/strict";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { dayMs, modeOf, output, tlsLab } from "../../../tests/support/tls.ts";
import { exportCa } from "./export.ts";
import { initTls } from "./init.ts";
import { readCertificates } from "../x509/inspect.ts";
import { parsePem, toPem } from "../x509/pem.ts";
import { mint } from "./mint.ts";
import { request } from "./request.ts";

Deno.test("mint writes a folder that only its owner reads", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const { ca } = await initTls(pki);
  const out = lab.at("b-tls");
  const { certificate } = await mint(pki, { out });
  assert.deepEqual(certificate.hostnames, ["agent-peer", "localhost"]);
  assert.deepEqual(certificate.ips, ["127.0.0.1", "::1"]);
  assert.equal(await modeOf(out), 0o700);
  assert.equal(await modeOf(`${out}/server.key`), 0o600);
  assert.deepEqual(Object.keys(snapshot(out)), ["ca.crt", "server.crt", "server.key"]);
  assert.equal((await readCertificates(`${out}/ca.crt`))[0]!.fingerprint, ca.fingerprint);
  assert.equal(await Deno.readTextFile(`${pki.root}/ca/ca.srl`), `${certificate.serial}\n`);
});

Deno.test("mint with names covers those and loopback, and not the placeholder", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const { certificate } = await mint(pki, {
    out: lab.at("b"),
    hostnames: ["B.lan"],
    ips: ["10.0.0.6"],
  });
  assert.deepEqual(certificate.hostnames, ["b.lan", "localhost"]);
  assert.deepEqual(certificate.ips, ["10.0.0.6", "127.0.0.1", "::1"]);
});

Deno.test("mint again replaces its own output and nothing else", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const out = lab.at("b-tls");
  const first = await mint(pki, { out });
  const second = await mint(pki, { out });
  assert.notEqual(first.certificate.serial, second.certificate.serial);

  await Deno.writeTextFile(`${out}/thesis.txt`, "years of work");
  await assert.rejects(mint(pki, { out }), { exit: 3 });
  await Deno.remove(`${out}/thesis.txt`);
  const other = lab.host("other");
  await initTls(other);
  const before = snapshot(out);
  await assert.rejects(mint(other, { out }), { exit: 3 });
  assert.deepEqual(snapshot(out), before);
  await assert.rejects(mint(pki, { out: pki.root }), { exit: 3 });
  await assert.rejects(mint(pki, { out: `${pki.root}/ca` }), { exit: 3 });
});

Deno.test({
  name: "mint writes no key into a folder that another user has put there",
  ignore: Deno.build.os === "windows" || Deno.uid() !== 0,
  fn: async () => {
    await using lab = await tlsLab();
    const pki = lab.host("a");
    await initTls(pki);
    const out = lab.at("theirs");
    await Deno.mkdir(out);
    await Deno.chown(out, 65534, 65534);
    await assert.rejects(mint(pki, { out }), { exit: 3 });
    await Deno.symlink(out, lab.at("link"));
    await assert.rejects(mint(pki, { out: lab.at("link") }), { exit: 3 });
    assert.deepEqual(Object.keys(snapshot(out)), []);
  },
});

Deno.test("no output takes the place of a key, by whatever way it is named", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const key = lab.at("web.key");
  await Deno.copyFile(`${pki.root}/server.key`, key);
  await Deno.symlink(`${pki.root}/ca`, lab.at("link"));
  const all = () => [snapshot(pki.root), Deno.readTextFileSync(key)];
  const before = all();
  for (const out of [key, lab.at("link/ca.key"), lab.at("link/ca.crt")]) {
    await assert.rejects(exportCa(pki, out), { exit: 3 });
    await assert.rejects(request(lab.host("b"), { out: key }), { exit: 3 });
  }
  await assert.rejects(mint(pki, { out: lab.at("link") }), { exit: 3 });
  assert.deepEqual(all(), before);
});

Deno.test("mint without the CA key says where it is", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  await Deno.remove(`${pki.root}/ca/ca.key`);
  await assert.rejects(mint(pki, { out: lab.at("b") }), (error: Error & { next: string }) => {
    assert.match(error.message, /key of "CN=Agent CA a" is not at/);
    assert.match(error.next, /on the host that holds the CA "Agent CA a"/);
    return true;
  });
  await assert.rejects(Deno.stat(lab.at("b")), Deno.errors.NotFound);
});

Deno.test("a certificate does not outlive its CA, and 825 days are the most", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const { ca } = await initTls(pki);
  const late = { ...pki, now: () => Date.now() + 3600 * dayMs };
  const { certificate } = await mint(late, { out: lab.at("b") });
  assert.equal(certificate.notAfter.getTime(), ca.notAfter.getTime());
  const config = `${pki.root}/config.yaml`;
  const text = await Deno.readTextFile(config);
  await Deno.writeTextFile(config, text.replace("validity_days: 825", "validity_days: 826"));
  await assert.rejects(mint(pki, { out: lab.at("c") }), { code: "bad_settings", exit: 2 });
});

Deno.test("a request is answered with confirmed names only", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  const peer = lab.host("b");
  await initTls(holder);
  const csr = lab.at("b.csr");
  const ips = ["10.0.0.6", "10.9.9.9"];
  await request(peer, { out: csr, hostnames: ["b.lan", "bank.example.com"], ips });
  const out = lab.at("b-tls");
  await assert.rejects(mint(holder, { out, csr }), { exit: 3 });
  await assert.rejects(mint(holder, { out, csr, confirm: () => Promise.resolve(false) }), {
    exit: 3,
  });
  const given = await mint(holder, { out, csr, hostnames: ["b.lan"], ips: ["10.0.0.6"] });
  assert.deepEqual(given.certificate.hostnames, ["b.lan", "localhost"]);
  assert.deepEqual(given.certificate.ips, ["10.0.0.6", "127.0.0.1", "::1"]);
  assert.deepEqual(given.notCertified, { hostnames: ["bank.example.com"], ips: ["10.9.9.9"] });
  assert.deepEqual(Object.keys(snapshot(out)), ["ca.crt", "server.crt"]);
  const all = await mint(holder, { out, csr, confirm: () => Promise.resolve(true) });
  assert.ok(all.certificate.hostnames.includes("bank.example.com"));
  assert.ok(all.certificate.ips.includes("10.9.9.9"));
});

Deno.test("requests of OpenSSL are answered, damaged ones are not", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const make = (name: string, ...kind: string[]) =>
    output(
      "openssl",
      ["req", "-new", ...kind, "-nodes", "-keyout", lab.at(`${name}.key`), "-subj"]
        .concat(["/CN=x", "-out", lab.at(`${name}.csr`)]),
    );
  await make("rsa", "-newkey", "rsa:2048");
  await make("weak", "-newkey", "rsa:1024");
  await make("ec", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384");
  await make("ed", "-newkey", "ed25519");
  for (const [name, type] of [["rsa", "rsa-2048"], ["ec", "ec-p384"], ["ed", "ed25519"]]) {
    const minted = await mint(pki, { out: lab.at(name!), csr: lab.at(`${name}.csr`) });
    assert.equal(minted.certificate.keyType, type);
    assert.deepEqual(minted.certificate.hostnames, ["agent-peer", "localhost"]);
  }
  const weak = mint(pki, { out: lab.at("weak"), csr: lab.at("weak.csr") });
  await assert.rejects(weak, { code: "bad_request" });
  for (const name of ["rsa", "ec", "ed"]) {
    const [{ der } = { der: new Uint8Array() }] = parsePem(
      await Deno.readTextFile(lab.at(`${name}.csr`)),
      name,
    );
    // The signature is at the end, and this bit of it is a part of the number, not of its encoding.
    der[der.length - 1]! ^= 1;
    const csr = lab.at(`${name}-flipped.csr`);
    await Deno.writeTextFile(csr, toPem("CERTIFICATE REQUEST", der));
    await assert.rejects(mint(pki, { out: lab.at("flipped"), csr }), {
      code: "bad_request",
      message: /not signed by the key/,
    });
  }
  const text = await Deno.readTextFile(lab.at("ec.csr"));
  const lines = text.split("\n");
  lines[3] = lines[3]!.split("").toReversed().join("");
  await Deno.writeTextFile(lab.at("bad.csr"), lines.join("\n"));
  const bad = mint(pki, { out: lab.at("bad"), csr: lab.at("bad.csr") });
  await assert.rejects(bad, { code: "bad_request" });
  const noRequest = mint(pki, { out: lab.at("bad"), csr: `${pki.root}/server.crt` });
  await assert.rejects(noRequest, { code: "bad_request" });
});

Deno.test("each serial number is new, also beside those that OpenSSL counts on", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const serials = new Set<string>();
  for (let i = 0; i < 20; i++) {
    serials.add((await mint(pki, { out: lab.at("b") })).certificate.serial);
  }
  assert.equal(serials.size, 20);
});

Deno.test("mint with a CA that has expired says how to renew it", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const late = { ...pki, now: () => Date.now() + 3700 * dayMs };
  await assert.rejects(mint(late, { out: lab.at("b") }), {
    code: "expired",
    next: "agent tls renew --ca",
  });
});

Deno.test("a request for thousands of names is refused in a few lines", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const csr = lab.at("many.csr");
  const hostnames = Array.from({ length: 2000 }, (_, i) => `h${i}.lan`);
  await request(lab.host("b"), { out: csr, hostnames });
  await assert.rejects(mint(pki, { out: lab.at("m"), csr }), (error: Error & { next: string }) => {
    assert.match(error.message, /h0\.lan, .* and 1992 more/);
    assert.ok(error.message.length + error.next.length < 400);
    return true;
  });
});

Deno.test("mint obeys no journal in the folder that it writes to, and sweeps nothing there", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const before = snapshot(pki.root);
  const changes = [{ path: "../a/tls/ca/ca.key", removed: true }, { path: "kept", removed: true }];
  for (const journal of [{ version: 1, changes }, { version: 1, removeAll: true }]) {
    const out = lab.at("out");
    await Deno.mkdir(out, { mode: 0o755 });
    await Deno.writeTextFile(`${out}/.journal`, JSON.stringify(journal));
    await Deno.writeTextFile(`${out}/.kept.new`, "kept");
    await mint(pki, { out });
    const { "ca/ca.srl": _serial, ...after } = snapshot(pki.root);
    const { "ca/ca.srl": _former, ...wanted } = before;
    assert.deepEqual(after, wanted);
    assert.deepEqual(
      [...Deno.readDirSync(out)].map(({ name }) => name).toSorted(),
      [".journal", ".kept.new", "ca.crt", "server.crt", "server.key"],
    );
    await Deno.remove(out, { recursive: true });
  }
});

Deno.test("mint into a link that leads nowhere is refused before a serial number is used", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const before = snapshot(pki.root);
  await Deno.symlink(lab.at("nowhere"), lab.at("link"));
  await assert.rejects(mint(pki, { out: lab.at("link") }), { exit: 3, message: /leads nowhere/ });
  assert.deepEqual(snapshot(pki.root), before);
});
