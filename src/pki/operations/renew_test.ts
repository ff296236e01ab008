import assert from "node:assert/strict";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { tlsLab } from "../../../tests/support/tls.ts";
import { initTls } from "./init.ts";
import { readCertificates, readPair } from "../x509/inspect.ts";
import { install } from "./install.ts";
import { mint } from "./mint.ts";
import { distrustPrevious, renewCa, renewServer } from "./renew.ts";
import { readTlsSettings } from "../directory/settings.ts";
import { chainOf } from "../x509/chain.ts";

Deno.test("renew keeps the names and the type of key, and makes a new key", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const first = await initTls(pki, { hostnames: ["x.lan"], keyType: "ec-p384" });
  const { server } = await renewServer(pki, {});
  assert.deepEqual(server!.hostnames, first.server.hostnames);
  assert.equal(server!.keyType, "ec-p384");
  assert.notDeepEqual(server!.publicKey, first.server.publicKey);
  await readPair(`${pki.root}/server.crt`, `${pki.root}/server.key`);
});

Deno.test("names that are added persist", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  await renewServer(pki, { addHostnames: ["new.lan"], addIps: ["10.0.0.7"] });
  const { server } = await renewServer(pki, {});
  assert.ok(server!.hostnames.includes("new.lan") && server!.ips.includes("10.0.0.7"));
  assert.ok((await readTlsSettings(pki.root)).san.ips.includes("10.0.0.7"));
});

Deno.test("a peer cannot renew, and is told where to", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  await initTls(holder);
  await mint(holder, { out: lab.at("b-tls") });
  const peer = lab.host("b");
  const at = lab.at("b-tls");
  await install(peer, { cert: `${at}/server.crt`, key: `${at}/server.key`, ca: `${at}/ca.crt` });
  const before = snapshot(peer.root);
  const minting = "then on the host that holds the CA: agent tls mint --csr request.csr -o DIR";
  await assert.rejects(renewServer(peer, {}), {
    code: "no_ca_key",
    next: `agent tls request -o request.csr, ${minting}`,
  });
  await assert.rejects(renewServer(peer, { addHostnames: ["b.org"] }), {
    next: "agent tls request -o request.csr --hostname b --hostname b.lan --hostname b.org, " +
      minting,
  });
  await assert.rejects(renewCa(peer, {}), { code: "no_ca_key" });
  assert.deepEqual(snapshot(peer.root), before);
  await assert.rejects(renewServer(lab.host("none"), {}), { code: "no_ca" });
});

Deno.test("a cluster that is half old and half new trusts itself in every direction", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  const first = await initTls(holder);
  const peers = [];
  for (const name of ["b", "c"]) {
    const at = lab.at(`${name}-tls`);
    await mint(holder, { out: at });
    const peer = lab.host(name);
    await install(peer, { cert: `${at}/server.crt`, key: `${at}/server.key`, ca: `${at}/ca.crt` });
    peers.push(peer);
  }
  const { ca, previous } = await renewCa(holder, {});
  assert.equal(ca!.subject, first.ca.subject);
  assert.notEqual(ca!.fingerprint, first.ca.fingerprint);
  // b has the new CA, and still its certificate of the former one.
  await install(peers[0]!, { ca: `${holder.root}/ca/ca.crt` });
  const trusts = async (one: string, other: string) => {
    const roots = await readCertificates(`${one}/ca-bundle.crt`);
    const [leaf, ...rest] = await readCertificates(`${other}/server.crt`);
    return chainOf(leaf!, rest, roots, other).length === 2;
  };
  const [b, c] = peers.map(({ root }) => root) as [string, string];
  for (const [one, other] of [[holder.root, b], [b, holder.root], [holder.root, c], [b, c]]) {
    assert.equal(await trusts(one!, other!), true);
  }
  // c lacks the new CA: it refuses the holder until it has it.
  await assert.rejects(trusts(c, holder.root), { code: "bad_chain" });
  await install(peers[1]!, { ca: `${holder.root}/ca/ca.crt` });
  assert.equal(await trusts(c, holder.root), true);

  // The end of the change: b gets a new certificate, then distrusts the former CA.
  await assert.rejects(distrustPrevious(peers[0]!), { exit: 3 });
  const at = lab.at("b-tls-2");
  await mint(holder, { out: at });
  await install(peers[0]!, { cert: `${at}/server.crt`, key: `${at}/server.key` });
  assert.deepEqual((await distrustPrevious(peers[0]!)).distrusted, [previous]);
  assert.equal((await readCertificates(`${b}/ca-bundle.crt`)).length, 1);
});

Deno.test("a stolen CA key is trusted no longer at once", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const first = await initTls(pki);
  await renewCa(pki, {});
  const { previous, distrusted } = await renewCa(pki, { distrustPrevious: true });
  assert.equal(previous, undefined);
  assert.equal(distrusted.length, 2);
  const bundle = await readCertificates(`${pki.root}/ca-bundle.crt`);
  assert.equal(bundle.length, 1);
  assert.notEqual(bundle[0]!.fingerprint, first.ca.fingerprint);
  assert.deepEqual([...Deno.readDirSync(`${pki.root}/trusted`)], []);
});

Deno.test("a host that goes back to its former CA can end that change, too", async () => {
  await using lab = await tlsLab();
  const [holder, peer] = [lab.host("a"), lab.host("b")];
  await initTls(holder);
  const at = lab.at("b-tls");
  await mint(holder, { out: at });
  await install(peer, { cert: `${at}/server.crt`, key: `${at}/server.key`, ca: `${at}/ca.crt` });
  await renewCa(holder, {});
  await install(peer, { ca: `${holder.root}/ca/ca.crt` });
  await install(peer, { ca: `${at}/ca.crt` });
  assert.equal((await distrustPrevious(peer)).distrusted.length, 2);
  assert.equal(readCertificates(`${peer.root}/ca-bundle.crt`).length, 1);
});

Deno.test("a name that was taken out of config.yaml is gone with the next renewal", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki, { hostnames: ["wrong.lan"] });
  const config = `${pki.root}/config.yaml`;
  const text = await Deno.readTextFile(config);
  await Deno.writeTextFile(config, text.replace(", wrong.lan", ""));
  const { server } = await renewServer(pki, { addHostnames: ["right.lan"] });
  assert.deepEqual(server!.hostnames, ["a", "a.lan", "localhost", "right.lan"]);
  // Without the file the certificate itself tells what to cover.
  await Deno.remove(config);
  assert.deepEqual((await renewServer(pki, {})).server!.hostnames, server!.hostnames);
});
