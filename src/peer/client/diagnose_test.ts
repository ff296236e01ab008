import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { eventually, freePort } from "../../../tests/support/eventually.ts";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { type Authority, makeAuthority } from "../../../tests/support/openssl.ts";
import { temporaryFolder } from "../../../tests/support/temporary.ts";
import { dayMs, output } from "../../../tests/support/tls.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { createLog } from "../../base/log.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { dialCoordinator } from "../client.ts";
import { ConnectionError, type DiagnosisCode } from "../../tls/diagnose.ts";
import { certify, certifyCa } from "../../pki/x509/certify.ts";
import { type Certificate, pkcs8Pem } from "../../pki/x509/inspect.ts";
import { generateKey, publicKeyOf } from "../../pki/x509/keys.ts";
import { certificatePem, pemOf } from "../../pki/x509/pem.ts";
import type { RefusalCause } from "../../tls/refusals.ts";
import { TaskError } from "../../tasks/service.ts";
import type { PeerMode } from "../../tls/mode.ts";
import { servePeer } from "../server.ts";

const env = { clock: systemClock, log: silentLog };
const h2c: PeerMode = { mode: "h2c" };

interface Case {
  /** Defaults to mTLS as it should be. */
  server?: PeerMode;
  client: PeerMode;
  /** Undefined: it works. */
  code?: DiagnosisCode;
  says?: RegExp;
  host?: string;
  /** Why the coordinator says that it refused the caller. */
  refusal?: RefusalCause;
  clock?: Clock;
}

/**
 * Certificates of one CA key at different times: roots of the same name and key, of which one is
 * valid now, and certificates that each of them signed as far as signatures go.
 */
async function datedCertificates(folder: string) {
  const [caKey, key] = [await generateKey("ec-p256"), await generateKey("ec-p256")];
  const root = (now: number) => certifyCa({ commonName: "Dated CA", key: caKey, days: 30, now });
  const issuer = { certificate: await root(Date.now()), key: caKey, others: [] };
  const write = async (name: string, certificate: Certificate) => {
    const file = join(folder, name);
    await Deno.writeTextFile(file, certificatePem(certificate.der));
    return file;
  };
  const keyFile = join(folder, "dated.key");
  await Deno.writeTextFile(keyFile, pkcs8Pem(key));
  const leaf = async (name: string, now: number) => {
    const names = { hostnames: [], ips: [] };
    const made = await certify({ issuer, publicKey: publicKeyOf(key), names, days: 10, now });
    return { certFile: await write(name, made), keyFile };
  };
  return {
    caFile: await write("dated-ca.crt", issuer.certificate),
    expiredCaFile: await write("expired-ca.crt", await root(Date.now() - 60 * dayMs)),
    futureCaFile: await write("future-ca.crt", await root(Date.now() + 2 * dayMs)),
    bothCaFile: await (async () => {
      const file = join(folder, "both-ca.crt");
      const all = [await root(Date.now() - 60 * dayMs), issuer.certificate];
      await Deno.writeTextFile(file, pemOf(all));
      return file;
    })(),
    leaf: await leaf("dated.crt", Date.now()),
    futureLeaf: await leaf("future.crt", Date.now() + dayMs),
  };
}

/** The same CA by name and key, in a certificate that may not certify. */
async function withoutCertSign({ folder }: Authority): Promise<string> {
  const file = join(folder, "no-cert-sign.crt");
  await output("openssl", [
    ...["req", "-x509", "-key", join(folder, "ca.key"), "-subj", "/CN=Test CA", "-days", "30"],
    ...["-addext", "keyUsage=critical,digitalSignature", "-out", file],
  ]);
  return file;
}

Deno.test("a client learns which of the things is wrong, and what to do", async (t) => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const foreign = await makeAuthority(folder.path, "foreign");
  const other = await makeAuthority(folder.path, "other", "/CN=Other CA");
  const { caFile } = ca;
  const leaf = await ca.issue("leaf");
  const expired = await ca.issue("expired", { days: -1 });
  const mtls = { mode: "mtls", clientCaFile: caFile, skipVerify: false } as const;
  const tls = { mode: "tls", skipVerify: false } as const;
  const good: PeerMode = { ...mtls, ...leaf };
  const named = async (...names: string[]): Promise<PeerMode> => ({
    ...mtls,
    ...await ca.issue(names.join().replaceAll(/\W/g, "_"), { names }),
  });

  const dated = await datedCertificates(folder.path);
  const datedPeer: PeerMode = { ...mtls, clientCaFile: dated.caFile, ...dated.leaf };

  const cases: Record<string, Case> = {
    "a root that has expired": {
      server: datedPeer,
      client: { ...datedPeer, clientCaFile: dated.expiredCaFile },
      code: "server_expired",
      says: /"CN=Dated CA".* expired on/,
    },
    "a root that is not yet valid": {
      server: datedPeer,
      client: { ...datedPeer, clientCaFile: dated.futureCaFile },
      code: "server_not_yet_valid",
      says: /"CN=Dated CA".* valid only from .*and the clock here says/,
    },
    "a coordinator whose own root has expired": {
      server: { ...datedPeer, clientCaFile: dated.expiredCaFile },
      client: datedPeer,
      code: "client_certificate_clock",
      refusal: "expired_certificate",
    },
    "an expired root beside the renewed one": {
      server: datedPeer,
      client: { ...datedPeer, clientCaFile: dated.bothCaFile },
    },
    "a root that may not certify": {
      client: { ...good, clientCaFile: await withoutCertSign(ca) },
      code: "server_chain",
      says: /"CN=Test CA".* is not a CA/,
    },
    "a coordinator whose clock is behind": {
      server: datedPeer,
      client: { ...datedPeer, ...dated.futureLeaf },
      clock: { ...systemClock, now: () => Date.now() + 2 * dayMs },
      code: "client_certificate_clock",
      says: /the clock of the coordinator's host may be wrong/,
      refusal: "untrusted_certificate",
    },
    "a certificate that is not yet valid by this side's clock": {
      server: datedPeer,
      client: { ...datedPeer, ...dated.futureLeaf },
      code: "client_certificate_not_yet_valid",
      refusal: "untrusted_certificate",
    },
    "a coordinator with its name in the common name alone": {
      server: { ...mtls, ...await ca.issue("cn", { names: [], subject: "/CN=localhost" }) },
      client: good,
      host: "localhost",
      code: "name_mismatch",
      says: /covers no name, not "localhost"/,
    },
    "all is well": { client: good },
    "plaintext to a TLS port": {
      client: h2c,
      code: "plaintext_to_tls",
      says: /speaks TLS/,
      refusal: "plaintext",
    },
    "TLS to a plaintext port": {
      server: h2c,
      client: good,
      code: "tls_to_plaintext",
      refusal: "not_grpc",
    },
    "no client certificate": {
      client: { ...tls, clientCaFile: caFile },
      code: "client_certificate_missing",
      refusal: "no_certificate",
    },
    "a client certificate of a CA with the same name": {
      client: { ...good, ...await foreign.issue("leaf") },
      code: "client_certificate_refused",
      says: /"CN=leaf", issued by "CN=Test CA"/,
      refusal: "untrusted_certificate",
    },
    "an expired client certificate": {
      client: { ...good, ...expired },
      code: "client_certificate_expired",
      says: /"CN=expired" expired on \d{4}-/,
      refusal: "expired_certificate",
    },
    "a client certificate for servers only": {
      client: { ...good, ...await ca.issue("server_only", { usage: "serverAuth" }) },
      code: "client_certificate_usage",
      refusal: "untrusted_certificate",
    },
    "a coordinator of another CA": {
      client: { ...good, clientCaFile: other.caFile },
      code: "foreign_ca",
      says: /issued by "CN=Test CA", and this side trusts "CN=Other CA"/,
    },
    "a coordinator of a CA with the same name": {
      client: { ...good, clientCaFile: foreign.caFile },
      code: "foreign_ca",
      says: /with another key than that CA has here/,
    },
    "an expired coordinator": {
      server: { ...good, ...expired },
      client: good,
      code: "server_expired",
      says: /expired on \d{4}-\d\d-\d\dT/,
    },
    "a coordinator with a certificate for clients only": {
      server: { ...good, ...await ca.issue("client_only", { usage: "clientAuth" }) },
      client: good,
      code: "server_usage",
    },
    "a coordinator with another name": {
      server: await named("DNS:elsewhere.test", "IP:192.0.2.1"),
      client: good,
      code: "name_mismatch",
      says: /covers elsewhere\.test, 192\.0\.2\.1, not "127\.0\.0\.1"/,
    },
    "a name by DNS": { server: await named("DNS:localhost"), client: good, host: "localhost" },
    "a name by IPv4 alone": { server: await named("IP:127.0.0.1"), client: good },
    "a name by IPv6 alone": { server: await named("IP:::1"), client: good, host: "::1" },
    "an IPv4 name is no IPv6 name": {
      server: await named("IP:127.0.0.2"),
      client: good,
      host: "::1",
      code: "name_mismatch",
    },
    "a name that is configured": {
      server: await named("DNS:elsewhere.test"),
      client: { ...good, serverName: "elsewhere.test" },
    },
    "a name that is configured and wrong": {
      client: { ...good, serverName: "elsewhere.test" },
      code: "name_mismatch",
      says: /not "elsewhere\.test"/,
    },
    "an address that is configured": {
      server: await named("IP:192.0.2.7"),
      client: { ...good, serverName: "192.0.2.7" },
    },
    "TLS without client certificates": {
      server: { ...tls, ...leaf },
      client: { ...tls, clientCaFile: caFile },
    },
    "unverified, by wish, without a CA": {
      server: { ...tls, ...expired },
      client: { mode: "tls", skipVerify: true },
    },
    "unverified still shows its certificate": {
      server: { ...good, ...expired },
      client: { ...good, clientCaFile: other.caFile, skipVerify: true },
    },
  };
  for (
    const [name, { server = good, client, code, says, host = "127.0.0.1", refusal, clock }]
      of Object
        .entries(cases)
  ) {
    await t.step(name, async () => {
      const listen = { host: host === "::1" ? "::1" : "127.0.0.1", port: 0 };
      const { signal } = new AbortController();
      await using peer = await servePeer(
        { ...listen, mode: server, ...fakeCoordinator(), env },
        signal,
      );
      const address = host === "localhost" ? `localhost:${peer.port}` : peer.address;
      const own = { ...env, clock: clock ?? env.clock };
      await using coordinator = await dialCoordinator(address, client, own);
      const call = coordinator.tasks.listWorkers();
      if (code === undefined) return assert.equal((await call)[0]?.id, "w1");
      const error = await refusalOf(call);
      assert.equal(error.diagnosis, code, error.message);
      assert.match(error.message, says ?? /^Could not connect to the coordinator at "/);
      assert.ok(error.next);
      if (refusal === undefined) return;
      await eventually(2_000, () => (peer.refusals()[refusal] ?? 0) > 0);
    });
  }
});

Deno.test("a client tells apart what the network can do to it", async (t) => {
  const refusal = async (address: string, mode: PeerMode = h2c) => {
    await using coordinator = await dialCoordinator(address, mode, env);
    return (await refusalOf(coordinator.tasks.listWorkers())).diagnosis;
  };
  await t.step("nothing listens", async () => {
    assert.equal(await refusal(`127.0.0.1:${freePort()}`), "refused");
  });
  await t.step("the name is not known", async () => {
    assert.equal(await refusal("no-such-host.invalid:50055"), "name_not_found");
  });
  for (
    const [name, greeting, code] of [
      ["something else listens", "HTTP/1.1 400 Bad Request\r\n\r\n", "not_a_coordinator"],
      ["what listens never answers", "", "timeout"],
    ] as const
  ) {
    await t.step(name, async () => {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        if (greeting !== "") socket.end(greeting);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const address = server.address();
      assert.ok(typeof address === "object" && address !== null);
      assert.equal(await refusal(`127.0.0.1:${address.port}`), code);
      server.close();
    });
  }
});

Deno.test("a web server that speaks HTTP/2 is not taken for a coordinator", async () => {
  const answer = () => new Response("There are /healthz, /readyz and /metrics", { status: 404 });
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  await using server = Deno.serve(options, answer);
  await using coordinator = await dialCoordinator(`127.0.0.1:${server.addr.port}`, h2c, env);
  assert.equal((await refusalOf(coordinator.tasks.listWorkers())).diagnosis, "not_a_coordinator");
});

Deno.test("skipping verification warns at each start", async () => {
  let lines = "";
  const write = (line: string) => void (lines += line);
  const log = createLog({ level: "info", format: "json", now: () => 0, write });
  for (let start = 1; start <= 2; start++) {
    const mode: PeerMode = { mode: "tls", skipVerify: true };
    await using _ = await dialCoordinator("127.0.0.1:1", mode, { clock: systemClock, log });
    assert.equal(lines.match(/is not verified/g)?.length, start);
  }
});

Deno.test("a call that finds the coordinator again succeeds", async () => {
  const port = freePort();
  const address = `127.0.0.1:${port}`;
  await using coordinator = await dialCoordinator(address, h2c, env);
  assert.equal((await refusalOf(coordinator.tasks.listWorkers())).diagnosis, "refused");
  const { signal } = new AbortController();
  const options = { host: "127.0.0.1", port, mode: h2c, ...fakeCoordinator(), env };
  await using _ = await servePeer(options, signal);
  assert.ok(await eventually(5000, () => coordinator.tasks.listWorkers()));
});

async function refusalOf(call: Promise<unknown>): Promise<ConnectionError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof TaskError && error.cause instanceof ConnectionError) return error.cause;
    throw error;
  }
  throw new Error("The call succeeded");
}
