import { version } from "../base/version.ts";
import { type Config, configKeys, settingOf } from "../config/schema.ts";
import { showValue } from "../config/values.ts";
import type { Facts } from "./facts.ts";
import type { Finding } from "./rules.ts";

/**
 * A report for someone who helps: facts, findings and settings. Settings only name the files that hold
 * secrets. The addresses of proxies may contain a password, so they are left out.
 */
export function bundleOf(facts: Facts, findings: Finding[], config: Config) {
  const settings = configKeys.filter((key) => config.values[key] !== undefined).map((key) => ({
    key,
    value: shown(config, key),
    origin: config.origins[key],
  }));
  return {
    agent: version,
    deno: Deno.version.deno,
    system: `${Deno.build.os}/${Deno.build.arch}`,
    at: new Date(facts.now).toISOString(),
    findings,
    facts,
    settings,
  };
}

function shown(config: Config, key: (typeof configKeys)[number]): string {
  const value = config.values[key];
  const items = Array.isArray(value) ? value : [value];
  return items.map((item) => showValue(settingOf(key), item)).join(",");
}
