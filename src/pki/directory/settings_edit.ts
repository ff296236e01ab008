/** Changes config.yaml and leaves the rest of it as its owner wrote it. */
import type { Names } from "../x509/names.ts";
import { defaultCaValidityDays, defaultValidityDays, parseTlsSettings } from "./settings.ts";

export interface SettingsUpdate {
  enabled?: boolean;
  autoOnNonLoopback?: boolean;
  san?: Names;
}

/**
 * The new text of config.yaml. Comments, unknown keys and paths stay. Text that cannot be edited line
 * by line is written again, with the same content and without its comments.
 */
export async function editSettings(
  text: string | undefined,
  update: SettingsUpdate,
  root: string,
): Promise<string> {
  if (text === undefined) return template(update);
  const values = Object.entries({
    enabled: update.enabled,
    auto_on_non_loopback: update.autoOnNonLoopback,
    san: update.san,
  }).filter(([, value]) => value !== undefined) as [string, boolean | Names][];
  let edited = text;
  for (const [key, value] of values) edited = setTopLevel(edited, key, yamlOf(key, value));
  if (await holds(edited, update, root)) return edited;
  const { parse, stringify } = await import("@std/yaml");
  const document = { ...parse(text, { schema: "core" }) as Record<string, unknown> };
  for (const [key, value] of values) document[key] = value;
  return stringify(document);
}

function template({ enabled = false, autoOnNonLoopback = true, san }: SettingsUpdate): string {
  return `# TLS of this host. "agent tls status" explains it, the other "agent tls" commands change it.
# Paths are relative to this folder, or absolute where another program manages the files.
enabled: ${enabled}
auto_on_non_loopback: ${autoOnNonLoopback}
ca_cert: ca/ca.crt
ca_key: ca/ca.key
ca_serial: ca/ca.srl
server_cert: server.crt
server_key: server.key
ca_bundle: ca-bundle.crt
trusted_dir: trusted
${yamlOf("san", san ?? { hostnames: [], ips: [] })}
validity_days: ${defaultValidityDays}
ca_validity_days: ${defaultCaValidityDays}
verify_hostname: false
`;
}

/** Replaces the line of a key at the left margin, and what is indented below it. */
function setTopLevel(text: string, key: string, replacement: string): string {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => new RegExp(`^${key}\\s*:`).test(line));
  if (start < 0) return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${replacement}\n`;
  let end = start + 1;
  while (end < lines.length && /^(\s+\S|- )/.test(lines[end]!)) end++;
  const comment = /^[^"']*\s(#.*)$/.exec(lines[start]!)?.[1];
  const first = replacement.split("\n");
  if (comment !== undefined) first[0] += ` ${comment.trimEnd()}`;
  lines.splice(start, end - start, ...first);
  return lines.join("\n");
}

function yamlOf(key: string, value: boolean | Names): string {
  if (typeof value === "boolean") return `${key}: ${value}`;
  // A colon or a star would mean something to YAML.
  const list = (items: string[]) =>
    `[${items.map((item) => /^[a-z][a-z0-9.-]*$/.test(item) ? item : `"${item}"`).join(", ")}]`;
  return `${key}:\n  hostnames: ${list(value.hostnames)}\n  ips: ${list(value.ips)}`;
}

async function holds(text: string, update: SettingsUpdate, root: string): Promise<boolean> {
  try {
    const now = await parseTlsSettings(text, root);
    return (update.enabled ?? now.enabled) === now.enabled &&
      (update.autoOnNonLoopback ?? now.autoOnNonLoopback) === now.autoOnNonLoopback &&
      JSON.stringify(update.san ?? now.san) === JSON.stringify(now.san);
  } catch {
    // The edit broke the file: it has a layout that cannot be edited by lines.
    return false;
  }
}
