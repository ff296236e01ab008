import type { Env } from "../base/env.ts";
import { createLog, type Fields, logText } from "../base/log.ts";
import { version } from "../base/version.ts";
import { idleTls } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import type { PeerMode } from "../tls/mode.ts";
import type { RoleName } from "../sandbox/entries.ts";

/** What a role logs before it serves. */
export interface Banner {
  role: RoleName;
  mode: PeerMode;
  /** End of this side's certificate, if it has one. */
  certificateEnds?: Date | undefined;
  /** Further fields: addresses to listen on, to advertise, to dial. */
  fields: Fields;
}

/** One line with the facts that are needed first when something does not work. */
export function printBanner(env: Env, config: Config, banner: Banner): void {
  const { role, mode, certificateEnds, fields } = banner;
  const idle = idleTls(config);
  if (idle !== undefined) env.log.warn(idle);
  env.log.info("starting", {
    role,
    version,
    ...fields,
    tls: mode.mode,
    tls_from: config.origins["peer.insecure"],
    ...(mode.mode === "h2c" ? {} : {
      ...file("cert_file", mode.certFile, config.origins["peer.cert_file"]),
      ...file("client_ca_file", mode.clientCaFile, config.origins["peer.client_ca_file"]),
      certificate_ends: certificateEnds?.toISOString(),
    }),
    data_dir: config.values[`${role}.data_dir`],
    config_file: config.file,
  });
}

/**
 * The line that says that a role is ready, with its real address. Supervisors and tests wait for it, so
 * it is written at every log level, and in text format it begins its line.
 */
export function printReady(
  env: Env,
  config: Config,
  fields: { role: string; address: string } & Fields,
): void {
  // A role keeps running when its log cannot be written.
  const write = (line: string) => void env.stderr.write(line).catch(() => {});
  if (config.values["log.format"] === "text") return write(logText("ready", fields) + "\n");
  createLog({ level: "info", format: "json", now: () => env.clock.now(), write })
    .info("ready", fields);
}

function file(name: string, path: string | undefined, origin: string): Fields {
  return path === undefined ? {} : { [name]: path, [`${name}_from`]: origin };
}
