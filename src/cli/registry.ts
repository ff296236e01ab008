import { UsageError } from "../base/errors.ts";
import { suggestion } from "../base/suggest.ts";
import type { AnyCommand } from "./command.ts";

type Load = () => Promise<{ default: AnyCommand }>;

/**
 * Every command, in the order of help. Literal imports, so that they are type-checked and found by
 * packaging; lazy, so that a command loads only what it needs.
 */
export const registry: Readonly<Record<string, Load>> = {
  "tls init": () => import("./commands/tls_init.ts"),
  "tls mint": () => import("./commands/tls_mint.ts"),
  "tls install": () => import("./commands/tls_install.ts"),
  "tls status": () => import("./commands/tls_status.ts"),
  "tls request": () => import("./commands/tls_request.ts"),
  "tls renew": () => import("./commands/tls_renew.ts"),
  "tls enable": () => import("./commands/tls_enable.ts"),
  "tls disable": () => import("./commands/tls_disable.ts"),
  "tls export-ca": () => import("./commands/tls_export_ca.ts"),
  "tls import-ca": () => import("./commands/tls_import_ca.ts"),
  "tls deploy": () => import("./commands/tls_deploy.ts"),
  "tls trust-system": () => import("./commands/tls_trust_system.ts"),
  "tls clean": () => import("./commands/tls_clean.ts"),
  "coordinator": () => import("./commands/coordinator.ts"),
  "worker": () => import("./commands/worker.ts"),
  "node": () => import("./commands/node.ts"),
  "demo": () => import("./commands/demo.ts"),
  "submit": () => import("./commands/submit.ts"),
  "status": () => import("./commands/status.ts"),
  "task list": () => import("./commands/task_list.ts"),
  "task show": () => import("./commands/task_show.ts"),
  "task why": () => import("./commands/task_why.ts"),
  "task logs": () => import("./commands/task_logs.ts"),
  "task cancel": () => import("./commands/task_cancel.ts"),
  "task retry": () => import("./commands/task_retry.ts"),
  "task delete": () => import("./commands/task_delete.ts"),
  "task prune": () => import("./commands/task_prune.ts"),
  "task artifacts": () => import("./commands/task_artifacts.ts"),
  "workers list": () => import("./commands/workers_list.ts"),
  "workers drain": () => import("./commands/workers_drain.ts"),
  "workers resume": () => import("./commands/workers_resume.ts"),
  "workers forget": () => import("./commands/workers_forget.ts"),
  "state get": () => import("./commands/state_get.ts"),
  "state put": () => import("./commands/state_put.ts"),
  "state delete": () => import("./commands/state_delete.ts"),
  "state list": () => import("./commands/state_list.ts"),
  "state watch": () => import("./commands/state_watch.ts"),
  "cluster status": () => import("./commands/cluster_status.ts"),
  "cluster nodes": () => import("./commands/cluster_nodes.ts"),
  "cluster forget": () => import("./commands/cluster_forget.ts"),
  "token show": () => import("./commands/token_show.ts"),
  "token url": () => import("./commands/token_url.ts"),
  "token rotate": () => import("./commands/token_rotate.ts"),
  "config show": () => import("./commands/config_show.ts"),
  "config set": () => import("./commands/config_set.ts"),
  "config check": () => import("./commands/config_check.ts"),
  "service install": () => import("./commands/service_install.ts"),
  "service restart": () => import("./commands/service_restart.ts"),
  "service uninstall": () => import("./commands/service_uninstall.ts"),
  "service status": () => import("./commands/service_status.ts"),
  "service logs": () => import("./commands/service_logs.ts"),
  "doctor": () => import("./commands/doctor.ts"),
  "sandbox show": () => import("./commands/sandbox_show.ts"),
  "completion": () => import("./commands/completion.ts"),
  "entrypoint": () => import("./commands/entrypoint.ts"),
  "completion ids": () => import("./commands/completion_ids.ts"),
  "completion reply": () => import("./commands/completion_reply.ts"),
  "version": () => import("./commands/version.ts"),
};

/** What each group of commands is for. */
export const groups: Readonly<Record<string, string>> = {
  tls: "Manage the private CA and the certificates of this host",
  task: "Follow, cancel, retry and delete tasks, and fetch what they wrote",
  workers: "Show workers, and take them out of service",
  state: "Read and write small values that tasks and people share",
  cluster: "Show the nodes of the cluster, and forget those that are gone",
  token: "Show and replace the token of this host's node, and log in with it",
  config: "Show, set and check the configuration",
  service: "Run roles as services that start with the host",
  sandbox: "Show what roles and commands may touch",
};

export type ResolvedCommand =
  | { kind: "command"; path: string; words: string[] }
  /** "" is `agent` itself. */
  | { kind: "group"; path: string; words: string[] };

/** The leading words that name a group or command. */
export function namesIn(words: readonly string[]): string[] {
  const isNamed = (path: string) =>
    Object.keys(registry).some((known) => known === path || known.startsWith(`${path} `));
  const end = words.findIndex((word, at) =>
    word.startsWith("-") || !isNamed(words.slice(0, at + 1).join(" "))
  );
  return words.slice(0, end < 0 ? words.length : end);
}

/** Finds the longest command that the words begin with; `words` are the others. */
export function findCommand(words: readonly string[]): ResolvedCommand {
  const names = namesIn(words);
  const path = names.join(" ");
  const left = words.slice(names.length);
  if (Object.hasOwn(registry, path)) return { kind: "command", path, words: [...left] };
  const unknown = left[0];
  if (unknown !== undefined && !unknown.startsWith("-")) {
    const start = path === "" ? "" : `${path} `;
    const known = Object.keys(registry).filter((name) => name.startsWith(start));
    const typed = `${start}${unknown}`;
    const next = known.map((name) => start + name.slice(start.length).split(" ")[0]);
    throw new UsageError(
      `Unknown command "agent ${typed}"`,
      suggestion(typed, new Set([...next, ...known]), `agent ${start}--help`),
    );
  }
  return { kind: "group", path, words: [...left] };
}

export async function loadCommand(path: string): Promise<AnyCommand> {
  return (await registry[path]!()).default;
}
