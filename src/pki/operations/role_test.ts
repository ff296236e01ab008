import assert from "node:assert/strict";
import { output, tlsLab } from "../../../tests/support/tls.ts";
import { readCertificates } from "../x509/inspect.ts";
import { roleOf } from "../x509/roles.ts";
import { initTls } from "./init.ts";
import { install } from "./install.ts";
import { mint } from "./mint.ts";
import { renewServer } from "./renew.ts";
import { reportStatus } from "./report.ts";
import { request } from "./request.ts";

Deno.test("a role stays with a host through mint, install, status, request and their repetition", async () => {
  await using lab = await tlsLab();
  const [holder, peer] = [lab.host("a"), lab.host("b")];
  await initTls(holder);
  const out = lab.at("minted");
  const files = { cert: `${out}/server.crt`, key: `${out}/server.key`, ca: `${out}/ca.crt` };
  assert.equal(roleOf((await mint(holder, { out, role: "worker" })).certificate), "worker");
  await install(peer, files);
  const report = await reportStatus(peer, { repair: false });
  assert.deepEqual([report.server!.role, report.ca!.role], ["worker", null]);

  const csr = lab.at("csr");
  assert.equal((await request(peer, { out: csr })).role, "worker");
  const answer = { out: lab.at("answer"), csr, hostnames: ["b.lan"] };
  assert.equal(roleOf((await mint(holder, answer)).certificate), "worker");
  await install(peer, { cert: lab.at("answer/server.crt") });
  assert.equal((await reportStatus(peer, { repair: false })).server!.role, "worker");
  // The holder of the CA decides.
  assert.equal(roleOf((await mint(holder, { ...answer, role: "node" })).certificate), "node");
});

Deno.test("the CA's own host keeps its role when it is renewed or gets more names", async () => {
  await using lab = await tlsLab();
  const host = lab.host("a");
  await initTls(host);
  assert.equal((await reportStatus(host, { repair: false })).server!.role, null);
  const out = lab.at("own");
  await mint(host, { out, role: "coordinator", hostnames: ["a", "a.lan"] });
  await install(host, { cert: `${out}/server.crt`, key: `${out}/server.key` });
  assert.equal(roleOf((await renewServer(host, {})).server!), "coordinator");
  assert.equal(roleOf((await initTls(host, { hostnames: ["more.lan"] })).server), "coordinator");
});

Deno.test("a request for a role that nobody knows is refused", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  await initTls(holder);
  const csr = lab.at("csr");
  await output(
    "openssl",
    ["req", "-new", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", lab.at("key")]
      .concat(["-addext", "subjectAltName=DNS:x.lan,URI:agent:role:admin", "-out", csr]),
  );
  await assert.rejects(mint(holder, { out: lab.at("out"), csr, hostnames: ["x.lan"] }), {
    code: "bad_request",
    message: /role/,
  });
});

Deno.test("a certificate with a role of another version cannot be renewed into one without", async () => {
  await using lab = await tlsLab();
  const peer = lab.host("b");
  await output(
    "openssl",
    ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", lab.at("key")]
      .concat(["-addext", "subjectAltName=URI:agent:role:admin", "-out", lab.at("crt")]),
  );
  await Deno.mkdir(peer.root, { recursive: true });
  await Deno.copyFile(lab.at("crt"), `${peer.root}/server.crt`);
  await assert.rejects(request(peer, { out: lab.at("csr") }), { code: "bad_certificate" });
  assert.equal(roleOf(readCertificates(`${peer.root}/server.crt`)[0]!), "unknown");
});
