import { isAbsolute, join } from "node:path";
import { UsageError } from "../base/errors.ts";

export interface Folders {
  /** `config.yaml`, `tls/`, `token`. */
  configRoot: string;
  /** Where roles keep their data. */
  stateRoot: string;
}

export interface Account {
  os: typeof Deno.build.os;
  /** 0 for root; null on Windows. */
  uid: number | null;
  variable: (name: string) => string | undefined;
}

/**
 * The user's folders for `agent`: those of the XDG base directory specification on Linux and other
 * Unix systems, the platform's own on macOS and Windows, system folders for root. XDG variables that
 * are set apply to root too. Relative ones are ignored, as XDG requires.
 */
export function folders({ os, uid, variable }: Account): Folders {
  const xdg = (name: string) => {
    const value = variable(name);
    return value !== undefined && isAbsolute(value) ? join(value, "agent") : undefined;
  };
  if (os === "windows") {
    const base = (name: string) => variable(name) ?? join(home(variable, "USERPROFILE"), "AppData");
    return {
      configRoot: join(base("APPDATA"), "agent"),
      stateRoot: join(base("LOCALAPPDATA"), "agent"),
    };
  }
  const system = uid === 0 ? { configRoot: "/etc/agent", stateRoot: "/var/lib/agent" } : undefined;
  if (os === "darwin" && !system) {
    const own = join(home(variable, "HOME"), "Library", "Application Support", "agent");
    return {
      configRoot: xdg("XDG_CONFIG_HOME") ?? own,
      stateRoot: xdg("XDG_STATE_HOME") ?? join(own, "state"),
    };
  }
  return {
    configRoot: xdg("XDG_CONFIG_HOME") ?? system?.configRoot ??
      join(home(variable, "HOME"), ".config", "agent"),
    stateRoot: xdg("XDG_STATE_HOME") ?? system?.stateRoot ??
      join(home(variable, "HOME"), ".local", "state", "agent"),
  };
}

function home(variable: Account["variable"], name: string): string {
  const value = variable(name);
  if (value !== undefined && isAbsolute(value)) return value;
  throw new UsageError(`The home folder is unknown: ${name} is not set to an absolute path`, {
    next: `Set ${name}, or XDG_CONFIG_HOME and XDG_STATE_HOME`,
  });
}
