import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { AddressInfo } from "node:net";
import { makeAuthority } from "../../tests/support/openssl.ts";
import { dayMs } from "../../tests/support/tls.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { inspectCertificate } from "../pki/x509/inspect.ts";
import { CallerCertificates } from "./trust.ts";

Deno.test("the certificate of an open connection counts while it and the CA are valid", async () => {
  await using folder = await temporaryFolder();
  const authority = await makeAuthority(folder.path);
  const other = await makeAuthority(folder.path, "other");
  const { certFile, keyFile } = await authority.issue("node", { days: 10 });
  const [cert, key, ca, otherCa] = await Promise.all(
    [certFile, keyFile, authority.caFile, other.caFile].map((file) => Deno.readTextFile(file)),
  );
  const server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, ca, cert, key, host: "127.0.0.1" });
  try {
    const [socket] = await once(server, "secureConnection") as [TLSSocket];
    const roots = [inspectCertificate(ca!)];
    const judge = new CallerCertificates();
    const kindAt = (days: number, trusted = roots) => {
      const caller = judge.of(socket, trusted, Date.now() + days * dayMs);
      return caller.kind === "refused" ? caller.reason : caller.kind;
    };
    assert.equal(kindAt(0), "peer");
    assert.equal(kindAt(9), "peer");
    assert.match(kindAt(11), /expired/);
    assert.match(kindAt(-1), /valid only from/);
    assert.equal(kindAt(1), "peer");
    // The same name with another key: the CA was replaced.
    assert.match(kindAt(1, [inspectCertificate(otherCa!)]), /CA|issued/);
    assert.equal(kindAt(1, [inspectCertificate(ca!)]), "peer");
  } finally {
    client.destroy();
    server.close();
  }
});
