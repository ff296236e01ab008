import { join } from "node:path";
import type { Env } from "../../base/env.ts";
import { type ProgramFailed, type Programs, programs, type Role } from "./programs.ts";

export const workerNames = ["alpha", "beta"] as const;

/** A coordinator and two workers, each with its own certificate, and the settings of a client. */
export interface Hosts extends AsyncDisposable {
  coordinator: string;
  /** The configuration file that makes commands its clients. */
  configFile: string;
  /** Settings of a client that has the CA but no certificate. */
  withoutCertificate: Record<string, string>;
  client: Programs;
  /**
   * Starts a node with the web UI.
   *
   * @returns its login URL, which can be used once.
   */
  startNode(): Promise<string>;
  /** Settles when one of the roles ends, which none should. */
  broken: Promise<ProgramFailed>;
}

/** Says that a step of the set-up is done. */
export type Step = (name: string, text: string) => Promise<void>;

/**
 * Sets up what `agent tls init`, `agent tls mint`, `agent coordinator` and `agent worker` set up on
 * real hosts, in one folder and on free ports of this machine.
 */
export async function startHosts(folder: string, env: Env, step: Step): Promise<Hosts> {
  await using open = new AsyncDisposableStack();
  const isolation = {
    // What defaults would put into the user's own folders ends up here.
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_STATE_HOME: join(folder, "state"),
    AGENT_TLS_DIR: join(folder, "coordinator", "tls"),
  };
  const host = programs(isolation, env.variable, env.signal);
  const nothing = join(folder, "empty.yaml");
  await Deno.writeTextFile(nothing, "");
  const base = { AGENT_CONFIG: nothing };
  await makeCertificates(folder, host, base);
  await step("Certificates", "a CA of its own, and one certificate for each of 4 parties");

  const coordinator = open.use(await startCoordinator(folder, host, base));
  await step("Coordinator", `${coordinator.address}, mutual TLS`);

  // Not the TLS directory of the coordinator: these stand for other hosts.
  const elsewhere = { ...base, AGENT_TLS_DIR: join(folder, "none") };
  const workers = await Promise.all(
    workerNames.map(async (name) =>
      open.use(await startWorker(name, folder, coordinator.address, host, elsewhere))
    ),
  );
  await step("Workers", `${workerNames.join(" and ")}, 2 slots each`);

  const files = certificateFiles(folder, "client");
  const configFile = join(folder, "client.yaml");
  await Deno.writeTextFile(configFile, clientConfig(coordinator.address, files));
  const broken = Promise.race([coordinator, ...workers].map(({ ended }) => ended));
  const client = { ...isolation, ...elsewhere, AGENT_CONFIG: configFile };
  const kept = open.move();
  return {
    async startNode() {
      const node = kept.use(await startNode(folder, coordinator.address, host, base));
      const url = ["token", "url", `--server.url=https://${node.address}`];
      return (await host.run(url, { env: base })).stdout.trim();
    },
    coordinator: coordinator.address,
    configFile,
    withoutCertificate: {
      AGENT_CONFIG: nothing,
      AGENT_CLIENT_COORDINATORS: coordinator.address,
      AGENT_PEER_INSECURE: "false",
      AGENT_PEER_CLIENT_CA_FILE: files.ca,
    },
    client: programs(client, env.variable, env.signal),
    broken,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Variables = Record<string, string>;

async function makeCertificates(folder: string, host: Programs, env: Variables): Promise<void> {
  await host.run(["tls", "init", "--hostname", "localhost"], { env });
  await Deno.mkdir(join(folder, "certificates"), { mode: 0o700 });
  await Promise.all(
    [...workerNames, "client"].map((name) =>
      host.run(["tls", "mint", "-o", certificateFolder(folder, name), "--hostname", name], { env })
    ),
  );
}

function startCoordinator(folder: string, host: Programs, env: Variables): Promise<Role> {
  return host.start([
    "coordinator",
    "--coordinator.host=127.0.0.1",
    "--coordinator.port=0",
    "--coordinator.health-port=0",
    `--coordinator.data-dir=${join(folder, "coordinator", "data")}`,
    "--peer.insecure=false",
  ], env);
}

function startWorker(
  name: string,
  folder: string,
  coordinator: string,
  host: Programs,
  env: Variables,
): Promise<Role> {
  const { cert, key, ca } = certificateFiles(folder, name);
  return host.start([
    "worker",
    `--worker.id=${name}`,
    `--worker.labels=demo=${name}`,
    "--worker.slots=2",
    `--worker.coordinators=${coordinator}`,
    "--worker.health-port=0",
    `--worker.data-dir=${join(folder, name)}`,
    "--peer.insecure=false",
    `--peer.cert-file=${cert}`,
    `--peer.key-file=${key}`,
    `--peer.client-ca-file=${ca}`,
  ], env);
}

/** On the host of the coordinator, whose TLS directory it shares. */
function startNode(
  folder: string,
  coordinator: string,
  host: Programs,
  env: Variables,
): Promise<Role> {
  return host.start([
    "node",
    "--node.cluster=demo",
    "--node.port=0",
    "--node.health-port=0",
    "--node.mdns=false",
    `--node.coordinators=${coordinator}`,
    `--node.data-dir=${join(folder, "node")}`,
    "--peer.insecure=false",
  ], env);
}

function certificateFolder(folder: string, name: string): string {
  return join(folder, "certificates", name);
}

function certificateFiles(folder: string, name: string) {
  const at = certificateFolder(folder, name);
  return {
    cert: join(at, "server.crt"),
    key: join(at, "server.key"),
    ca: join(at, "ca.crt"),
  };
}

/** JSON is YAML, and quotes what paths may contain. */
function clientConfig(address: string, { cert, key, ca }: Record<"cert" | "key" | "ca", string>) {
  const settings = {
    client: { coordinators: [address] },
    peer: { insecure: false, cert_file: cert, key_file: key, client_ca_file: ca },
  };
  return JSON.stringify(settings, null, 2) + "\n";
}
