/**
 * Certificates from a Secret of Kubernetes: the kubelet writes a new folder and points the link
 * `..data` at it, so that all files change at once.
 */
import assert from "node:assert/strict";
import { connect } from "node:tls";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";
import { output } from "../support/tls.ts";

Deno.test("roles take up certificates of a mounted Secret without a restart", async () => {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const secret = await mountedSecrets(home);
  const quick = (role: string) => ["--peer.insecure=false", `--${role}.health-port=0`];
  const peer = (name: string) => ({
    AGENT_PEER_CERT_FILE: join(secret.folder(name), "tls.crt"),
    AGENT_PEER_KEY_FILE: join(secret.folder(name), "tls.key"),
    AGENT_PEER_CLIENT_CA_FILE: join(secret.folder(name), "ca.crt"),
  });
  const first = await Promise.all(["coordinator", "worker", "node"].map(secret.put));
  const coordinator = (port: string) => {
    const args = [...quick("coordinator"), `--coordinator.port=${port}`];
    return agent.start("coordinator", args, { home, env: peer("coordinator") });
  };
  const former = await coordinator("0");
  const { address } = former;
  const dial = `--coordinators=${address}`;
  await using worker = await agent.start("worker", [
    ...quick("worker"),
    "--worker.id=pod-1",
    `--worker.coordinators=${address}`,
  ], { home, env: peer("worker") });
  const at = secret.folder("node");
  await using node = await agent.start("node", [
    ...quick("node"),
    "--node.port=0",
    "--node.mdns=false",
    `--node.tls-cert=${at}/tls.crt`,
    `--node.tls-key=${at}/tls.key`,
    `--node.coordinators=${address}`,
  ], { home, env: peer("node") });
  const cli = async (...words: string[]) => {
    const ran = await agent.run([...words, dial, "--peer.insecure=false"], { home });
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stdout;
  };
  assert.deepEqual([await presented(address), await presented(node.address)], [first[0], first[2]]);

  const second = await Promise.all(["coordinator", "worker", "node"].map(secret.put));
  await eventually(20_000, async () => {
    const shown = [await presented(address), await presented(node.address)];
    assert.deepEqual(shown, [second[0], second[2]]);
    return true;
  });
  await worker.said(/certificate files have changed/);
  // Connections go on with what they began with; the next one is made with the new certificate.
  await former.stop();
  await using _again = await coordinator(address.split(":").at(-1)!);
  await eventually(30_000, async () => {
    const { workers } = JSON.parse(await cli("workers", "list", "--json"));
    assert.deepEqual(
      workers.map((each: Record<string, unknown>) => [each.health, each.fingerprint]),
      [["healthy", second[1]]],
    );
    return true;
  });
});

const subject = ["-subj", "/CN=worker", "-addext", "subjectAltName=DNS:localhost"];

/** Secrets as the kubelet mounts them, with certificates of the home's CA. */
async function mountedSecrets(home: Home) {
  const root = join(home.path, "secrets");
  await Deno.mkdir(root);
  let version = 0;
  const folder = (name: string) => join(root, name);
  return {
    folder,
    /** Issues a certificate, and puts it into the Secret. @returns its fingerprint. */
    async put(name: string): Promise<string> {
      const minted = join(root, `minted-${++version}`);
      const mount = folder(name);
      const key = join(mount, "tls.key");
      const role = name === "node" ? [] : ["--role", name];
      const mint = ["tls", "mint", "-o", minted, "--hostname", "localhost", ...role];
      // As `rotationPolicy: Never` renews: a worker id stays with its key.
      const keeps = name === "worker" && await Deno.stat(key).then(() => true, () => false);
      if (keeps) {
        await output("openssl", ["req", "-new", "-key", key, "-out", `${minted}.csr`, ...subject]);
      }
      const ran = await agent.run([...mint, ...keeps ? ["--csr", `${minted}.csr`] : []], { home });
      assert.equal(ran.code, 0, ran.stderr);
      if (keeps) await Deno.copyFile(key, join(minted, "server.key"));
      const data = `..2026_${version}`;
      await Deno.mkdir(join(mount, data), { recursive: true });
      const names = { "server.crt": "tls.crt", "server.key": "tls.key", "ca.crt": "ca.crt" };
      for (const [from, to] of Object.entries(names)) {
        await Deno.copyFile(join(minted, from), join(mount, data, to));
        await Deno.symlink(`..data/${to}`, join(mount, to)).catch((error) => {
          if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
        });
      }
      const old = await Deno.readLink(join(mount, "..data")).catch(() => undefined);
      await Deno.symlink(data, join(mount, "..data_tmp"));
      await Deno.rename(join(mount, "..data_tmp"), join(mount, "..data"));
      if (old !== undefined) await Deno.remove(join(mount, old), { recursive: true });
      return fingerprint(await Deno.readTextFile(join(minted, "server.crt")));
    },
  };
}

/** The fingerprint of the certificate that a server presents. */
function presented(address: string): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(fingerprint(raw));
    });
    socket.on("error", reject);
  });
}

function fingerprint(certificate: string | Uint8Array): string {
  const text = new X509Certificate(certificate as string).fingerprint256;
  return text.replaceAll(":", "").toLowerCase();
}
