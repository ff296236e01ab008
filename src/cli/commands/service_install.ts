import { dirname } from "node:path";
import { selfCommand } from "../../base/self.ts";
import { UsageError } from "../../base/errors.ts";
import type { Env } from "../../base/env.ts";
import {
  type Config,
  type ConfigKey,
  configKeys,
  flagOf,
  sectionOf,
  settingOf,
} from "../../config/schema.ts";
import { showValue } from "../../config/values.ts";
import type { ServiceRole } from "../../service/supervisor.ts";
import { command } from "../command.ts";
import {
  drainOption,
  requireRoot,
  roleArg,
  roleOfArg,
  serviceGrants,
  stateText,
  stateView,
  supervisorOf,
  userOption,
} from "../service_options.ts";

export default command({
  path: "service install",
  summary: "Run a role as a service that starts with the host",
  description: "Takes the flags of the role. Writes a hardened systemd unit, enables and starts " +
    "it, and waits until the role is ready; if it is not, shows its log. Installing again replaces " +
    "the unit and restarts the role. Without a service manager it starts the role " +
    "directly, which does not start again with the host.",
  args: [roleArg],
  options: {
    ...userOption,
    ...drainOption,
    print: {
      kind: "choice",
      choices: ["systemd", "openrc", "launchd"],
      help: "Print the unit for this service manager, and change nothing",
    },
  },
  config: ["node", "coordinator", "worker", "peer", "log"],
  shortFlags: "node",
  examples: [
    {
      line: "agent service install node -H 0.0.0.0 --cluster lab",
      does: "A node of the cluster lab",
    },
    {
      line: "agent service install worker --user --worker.coordinators=hub.lan:50055",
      does: "A worker of this user",
    },
    { line: "agent service install node --print launchd", does: "A unit for macOS" },
  ],
  graceMs: 35_000,
  grants: ({ env, options }) => serviceGrants(env, options),
  run: async (request) => {
    const { args, env, options } = request;
    const role = await roleOfArg(args[0]!);
    const self = selfCommand();
    const spec = {
      role,
      command: [self.command, ...self.args, role, ...roleFlags(request.config, role)],
      user: options.user,
      ...await pathsOf(request.config, env, role),
      variables: await passedVariables(env),
    };
    if (options.print !== undefined) {
      const { openrcScript, launchdPlist } = await import("../../service/other_units.ts");
      const { systemdUnit } = await import("../../service/systemd_unit.ts");
      const unit = {
        systemd: systemdUnit,
        openrc: openrcScript,
        launchd: launchdPlist,
      }[options.print](spec);
      return { unit };
    }
    const manager = await supervisorOf(env, options.user);
    requireRoot(options.user, manager.kind);
    return stateView(await manager.install(spec, options.drain));
  },
  text: (done) => {
    if ("unit" in done) return done.unit;
    const direct = done.manager === "none"
      ? "\nThere is no service manager here: it was started directly, and will not start by itself " +
        "after a restart of this host"
      : "";
    return `${stateText(done)}${direct}\nNext: agent service status ${done.role}`;
  },
});

/** The given flags in their long form. Flags of another role are refused: they would have no effect. */
export function roleFlags(config: Config, role: string): string[] {
  const given = configKeys.filter((key) => config.origins[key] === "flag");
  const other = given.find((key) => ![role, "peer", "log"].includes(sectionOf(key)));
  if (other !== undefined) {
    throw new UsageError(`--${flagOf(other)} is not a flag of agent ${role}`);
  }
  return given.flatMap((key) => valuesOf(config.values[key], key));
}

function valuesOf(value: unknown, key: ConfigKey): string[] {
  const setting = settingOf(key);
  const list = setting.repeat && Array.isArray(value) ? value : [value];
  return list.map((item) => `--${flagOf(key)}=${showValue(setting, item)}`);
}

/** The folders that the role writes to, and files of settings that it reads. */
async function pathsOf({ values }: Config, env: Env, role: ServiceRole) {
  const { identityFiles } = await import("../../pki/directory/identity_files.ts");
  const writes = [
    env.stateRoot,
    env.configRoot,
    dirname(identityFiles(env).token),
    values[`${role}.data_dir`],
  ];
  const reads = configKeys.filter((key) =>
    [role, "peer"].includes(sectionOf(key)) && settingOf(key).kind === "path"
  ).flatMap((key) => values[key] as string | undefined ?? []);
  return { writes: [...new Set(writes)], reads };
}

/** A service has no login shell: its unit must set the variables that name folders and settings. */
async function passedVariables(env: { variable: (name: string) => string | undefined }) {
  const { configKeys, variableOf } = await import("../../config/schema.ts");
  const names = [
    ...["AGENT_CONFIG", "AGENT_TLS_DIR", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"],
    ...configKeys.map(variableOf),
  ];
  return Object.fromEntries(names.flatMap((name) => {
    const value = env.variable(name);
    return value === undefined ? [] : [[name, value] as const];
  }));
}
