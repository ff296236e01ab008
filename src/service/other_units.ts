/** Units for service managers that `agent` cannot control: it only prints them. */
import { shellQuoted } from "../base/shell_quoted.ts";
import type { ServiceSpec } from "./supervisor.ts";

/** OpenRC, as on Alpine and Gentoo. */
export function openrcScript({ role, command, variables }: ServiceSpec): string {
  const [program, ...args] = command;
  const exports = Object.entries(variables)
    .map(([name, value]) => `export ${name}=${shellQuoted(value)}\n`).join("");
  return `#!/sbin/openrc-run
# Save as /etc/init.d/agent-${role} with mode 0755, then:
#   rc-update add agent-${role} default && rc-service agent-${role} start
${exports}description="agent ${role}"
supervisor=supervise-daemon
command=${shellQuoted(program!)}
command_args="${args.map(shellQuoted).join(" ").replaceAll(/(["$`\\])/g, "\\$1")}"
output_log=/var/log/agent-${role}.log
error_log=/var/log/agent-${role}.log
respawn_delay=2
umask=077

depend() {
  need net
  after firewall
}
`;
}

/** launchd, on macOS. */
export function launchdPlist({ role, command, variables, user }: ServiceSpec): string {
  const xml = (text: string) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const string = (text: string) => `    <string>${xml(text)}</string>`;
  const pairs = Object.entries(variables)
    .flatMap(([name, value]) => [`    <key>${xml(name)}</key>`, string(value)]);
  const place = user
    ? `~/Library/LaunchAgents/agent.${role}.plist`
    : `/Library/LaunchDaemons/agent.${role}.plist`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Save as ${place}, then:
     launchctl bootstrap ${user ? "gui/$(id -u)" : "system"} ${place} -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>agent.${role}</string>
  <key>ProgramArguments</key>
  <array>
${command.map(string).join("\n")}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
${pairs.join("\n")}
  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>Umask</key>
  <integer>63</integer>
</dict>
</plist>
`;
}
