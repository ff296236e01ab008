import { join } from "node:path";

/** A home for one test, so that it does not use the configuration or state of this machine. */
export interface Home extends AsyncDisposable {
  path: string;
  /** The complete environment of programs in this home. */
  env: Record<string, string>;
  /** `tls/` of this home. */
  tls: string;
  /** `config.yaml` of this home; empty at first. */
  configFile: string;
  /** Data of the roles, one folder for each. */
  state: string;
}

/** Variables that the program under test inherits; all others are cleared. */
const passed = [
  "PATH",
  "LANG",
  "TZ",
  "DENO_TLS_CA_STORE",
  "DENO_CERT",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  // scripts/test finds processes that a test left running by this variable.
  "TEST_RUN",
];

/** Makes a home in the temporary folder; disposal removes it, and disposing twice is fine. */
export async function tempHome(): Promise<Home> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "agent-test-" }));
  const config = join(path, ".config", "agent");
  const state = join(path, ".local", "state", "agent");
  const configFile = join(config, "config.yaml");
  const tls = join(config, "tls");
  await Deno.mkdir(config, { recursive: true, mode: 0o700 });
  await Deno.mkdir(join(path, "tmp"));
  await Deno.writeTextFile(configFile, "", { mode: 0o600 });
  const env: Record<string, string> = {
    HOME: path,
    XDG_CONFIG_HOME: join(path, ".config"),
    XDG_STATE_HOME: join(path, ".local", "state"),
    XDG_DATA_HOME: join(path, ".local", "share"),
    XDG_CACHE_HOME: join(path, ".cache"),
    TMPDIR: join(path, "tmp"),
    NO_COLOR: "1",
    DENO_NO_UPDATE_CHECK: "1",
    DENO_DIR: denoDir(),
    // For root the defaults are below /etc and /var/lib, not below HOME.
    AGENT_CONFIG: configFile,
    AGENT_TLS_DIR: tls,
    // The default of minutes would make every test of a lost worker wait for as long.
    AGENT_COORDINATOR_LOST_AFTER: "15s",
    AGENT_COORDINATOR_DATA_DIR: join(state, "coordinator"),
    AGENT_WORKER_DATA_DIR: join(state, "worker"),
    AGENT_NODE_DATA_DIR: join(state, "node"),
  };
  for (const name of passed) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return {
    path,
    env,
    tls,
    configFile,
    state,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true }).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    },
  };
}

/** Deno's cache of packages, which the program needs when it runs from source. */
export function denoDir(): string {
  const chosen = Deno.env.get("DENO_DIR");
  if (chosen) return chosen;
  const cache = Deno.env.get("XDG_CACHE_HOME");
  return cache ? join(cache, "deno") : join(Deno.env.get("HOME") ?? "/root", ".cache", "deno");
}
