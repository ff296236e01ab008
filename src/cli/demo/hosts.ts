import { join } from "node:path";
import type { Env } from "../../base/env.ts";
import { type ProgramFailed, type Programs, programs, type Role } from "./programs.ts";

export const workerNames = ["alpha", "beta"] as const;

/** A coordinator and two workers, each with a certificate of its own, and a client's settings. */
export interface Hosts extends AsyncDisposable {
  coordinator: string;
  /** The configuration file by which commands are clients of it. */
  configFile: string;
  /** Settings of a client that has the CA but no certificate. */
  withoutCertificate: Record<string, string>;
  client: Programs;
  /** Settles when one of the roles ends, which none should. */
  broken: Promise<ProgramFailed>;
}

/**
 * Sets up what `agent tls init`, `agent tls mint`, `agent coordinator` and `agent worker` set up on
 * real hosts, in one folder and on free ports of this machine.
 */
export async function startHosts(
  folder: string,
  env: Env,
  step: (name: string, text: string) => Promise<void>,
): Promise<Hosts> {
  await using open = new AsyncDisposableStack();
  const configFile = join(folder, "client.yaml");
  const isolation = {
    // Whatever a default would put into the user's own folders ends up here.
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_STATE_HOME: join(folder, "state"),
    AGENT_TLS_DIR: join(folder, "coordinator", "tls"),
  };
  const host = programs(isolation, env.variable, env.signal);
  const nothing = join(folder, "empty.yaml");
  await Deno.writeTextFile(nothing, "");
  const base = { AGENT_CONFIG: nothing };

  await host.run(["tls", "init", "--hostname", "localhost"], { env: base });
  const certificate = (name: string) => join(folder, "certificates", name);
  await Deno.mkdir(join(folder, "certificates"), { mode: 0o700 });
  await Promise.all(
    [...workerNames, "client"].map((name) =>
      host.run(["tls", "mint", "-o", certificate(name), "--hostname", name], { env: base })
    ),
  );
  await step("Certificates", "a CA of its own, and one certificate for each of 4 parties");

  const coordinator = open.use(
    await host.start([
      "coordinator",
      "--coordinator.host=127.0.0.1",
      "--coordinator.port=0",
      "--coordinator.health-port=0",
      `--coordinator.data-dir=${join(folder, "coordinator", "data")}`,
      "--peer.insecure=false",
    ], base),
  );
  await step("Coordinator", `${coordinator.address}, mutual TLS`);

  const files = (name: string) => ({
    cert: join(certificate(name), "server.crt"),
    key: join(certificate(name), "server.key"),
    ca: join(certificate(name), "ca.crt"),
  });
  // Not through the TLS directory: it is the coordinator's, and these are other hosts.
  const elsewhere = { ...base, AGENT_TLS_DIR: join(folder, "none") };
  const workers: Role[] = await Promise.all(workerNames.map(async (name) => {
    const { cert, key, ca } = files(name);
    return open.use(
      await host.start([
        "worker",
        `--worker.id=${name}`,
        `--worker.labels=demo=${name}`,
        "--worker.slots=2",
        `--worker.coordinators=${coordinator.address}`,
        "--worker.health-port=0",
        `--worker.data-dir=${join(folder, name)}`,
        "--peer.insecure=false",
        `--peer.cert-file=${cert}`,
        `--peer.key-file=${key}`,
        `--peer.client-ca-file=${ca}`,
      ], elsewhere),
    );
  }));
  await step("Workers", `${workerNames.join(" and ")}, 2 slots each`);

  await Deno.writeTextFile(configFile, clientConfig(coordinator.address, files("client")));
  const { ca } = files("client");
  const broken = Promise.race([coordinator, ...workers].map(({ ended }) => ended));
  const kept = open.move();
  return {
    coordinator: coordinator.address,
    configFile,
    withoutCertificate: {
      AGENT_CONFIG: nothing,
      AGENT_CLIENT_COORDINATORS: coordinator.address,
      AGENT_PEER_INSECURE: "false",
      AGENT_PEER_CLIENT_CA_FILE: ca,
    },
    client: programs(
      { ...isolation, ...elsewhere, AGENT_CONFIG: configFile },
      env.variable,
      env.signal,
    ),
    broken,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
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
