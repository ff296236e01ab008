/** Where the roles on a peer listen, by their own settings. */
import { settingsOfRolesScript } from "./change_scripts.ts";
import { runScript, type Target } from "./peer.ts";

export interface RoleSettings {
  /** Where the peer itself reaches the role, `host:port`; undefined for a worker. */
  address: string | undefined;
  /** Its health port; undefined if that is off. */
  health: string | undefined;
  /** Whether it presents the certificate of the TLS directory, by its settings. */
  usesTlsDirectory: boolean;
}

/** Starting `agent config show` for each role. */
const showMs = 30_000;

/** The settings of these roles as they run there; without those that cannot be found out. */
export async function settingsOfRoles(
  target: Target,
  roles: string[],
): Promise<Map<string, RoleSettings>> {
  const ran = await runScript(target, settingsOfRolesScript, {
    variables: { agent: target.facts.agent?.path ?? "agent", roles: roles.join(" ") },
    timeoutMs: showMs,
  });
  const found = new Map<string, RoleSettings>();
  for (const [, role, json] of ran.stdout.matchAll(/^(\w+)<\n(.*?)\n\1>$/gms)) {
    const settings = read(role!, json!);
    if (settings !== undefined) found.set(role!, settings);
  }
  return found;
}

function read(role: string, json: string): RoleSettings | undefined {
  try {
    const { settings } = JSON.parse(json) as {
      settings: { key: string; value: unknown; origin: string }[];
    };
    const of = (key: string) => settings.find((setting) => setting.key === key);
    const address = (host: string, port: string) => {
      const number = Number(of(port)?.value ?? 0);
      return number === 0 ? undefined : `${reachable(String(of(host)?.value))}:${number}`;
    };
    const certificate = of(role === "node" ? "node.tls_cert" : "peer.cert_file");
    return {
      address: role === "worker" ? undefined : address(`${role}.host`, `${role}.port`),
      health: address(`${role}.health_host`, `${role}.health_port`),
      usesTlsDirectory: certificate === undefined || certificate.value === null ||
        certificate.origin === "tls directory",
    };
  } catch {
    return undefined; // An executable that does not know the command.
  }
}

/** An address that leads to the listener, seen from its host. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}
