/**
 * The system's own `ssh`, with the user's configuration, keys, agent and known hosts. All scripts for
 * one peer share one connection (ControlMaster). Host keys are always checked.
 */
import { isIP } from "node:net";
import type { Transport } from "./remote.ts";

export interface SshOptions {
  /** Folder for the sockets of shared connections; only this user may enter it. */
  scratch: string;
  user?: string | undefined;
  /** Never ask for a password, a passphrase or about a host key. */
  batch: boolean;
  /** Accept the key of a host that is not known yet; a changed key is still refused. */
  acceptNewHosts: boolean;
  /** How long a shared connection stays open without use. */
  persistMs: number;
}

/** Anything that ssh can resolve: a name, an address, a Host of ~/.ssh/config, with or without user. */
const target = /^(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9_][A-Za-z0-9._-]*$/;

/** Whether a text can be handed to ssh as a host, and never as an option. */
export function isSshTarget(text: string): boolean {
  return text.length <= 255 && (target.test(text) || isIP(text) !== 0);
}

export function sshTransport(host: string, options: SshOptions): Transport {
  const args = sshArgs(options);
  return {
    label: `ssh ${host}`,
    command: (line) => ({ program: "ssh", args: [...args, "-T", "--", host, line] }),
  };
}

/** Opens a byte stream to a port on the peer, through the connection that is already open. */
export function sshForward(
  host: string,
  to: string,
  options: SshOptions,
): { program: string; args: string[] } {
  return { program: "ssh", args: [...sshArgs({ ...options, batch: true }), "-W", to, "--", host] };
}

/** Ends the shared connection. */
export function sshExit(host: string, options: SshOptions): { program: string; args: string[] } {
  return { program: "ssh", args: [...sshArgs(options), "-O", "exit", "--", host] };
}

function sshArgs({ scratch, user, batch, acceptNewHosts, persistMs }: SshOptions): string[] {
  const set = (option: string) => ["-o", option];
  return [
    ...set("ControlMaster=auto"),
    ...set(`ControlPath=${scratch}/%C`),
    ...set(`ControlPersist=${persistMs / 1000}`),
    ...set("ConnectTimeout=10"),
    // A peer that dies is noticed after 15 s.
    ...set("ServerAliveInterval=5"),
    ...set("ServerAliveCountMax=3"),
    ...batch ? set("BatchMode=yes") : [],
    ...acceptNewHosts ? set("StrictHostKeyChecking=accept-new") : [],
    ...user === undefined ? [] : ["-l", user],
  ];
}

/** Why ssh itself failed (exit code 255), and what helps. */
export interface SshFailure {
  /** Whether a person at the terminal could answer what ssh would ask. */
  askable: boolean;
  what: string;
  next: string;
}

/** Explains what ssh prints. Its messages have been the same for decades, and it has no codes. */
export function explainSsh(host: string, stderr: string): SshFailure {
  const last = stderr.trim().split("\n").findLast((line) => line.trim() !== "") ?? "";
  const has = (pattern: RegExp) => pattern.test(stderr);
  if (has(/REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed/i)) {
    return {
      askable: false,
      what: "its host key has changed: another host answers, or it was reinstalled",
      next: `If you know why: ssh-keygen -R ${host}`,
    };
  }
  if (has(/Host key verification failed|No .* host key is known/i)) {
    return {
      askable: true,
      what: "its host key is not known here",
      next: `ssh ${host} true, to check the key and accept it; or --accept-new-hosts`,
    };
  }
  if (has(/Permission denied|Too many authentication failures/i)) {
    return {
      askable: true,
      what: "ssh refuses this user",
      next: `ssh-copy-id ${host}, or name the user with --ssh-user`,
    };
  }
  if (has(/Could not resolve hostname|Name or service not known/i)) {
    return {
      askable: false,
      what: `the name "${host}" is not known`,
      next: `Check the name, or give its address with --ssh-host ${host}=ADDRESS`,
    };
  }
  if (has(/Connection timed out|No route to host|Operation timed out|unreachable/i)) {
    return {
      askable: false,
      what: "it does not answer",
      next: "Check that the host is up and reachable, then run this again",
    };
  }
  if (has(/Connection refused/i)) {
    return {
      askable: false,
      what: "nothing listens on its ssh port",
      next: "Start sshd there, or set its port in ~/.ssh/config",
    };
  }
  if (last === "") {
    return {
      askable: false,
      what: "the connection broke off",
      next: "Run this again: it completes what is unfinished",
    };
  }
  return { askable: false, what: last, next: `ssh -v ${host} true` };
}
