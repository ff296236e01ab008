import { isIP } from "node:net";
import { resolve } from "node:path";
import { joinHost } from "../base/address.ts";
import { parseLabel } from "../tasks/names.ts";

/** One type of value: how it is read from text, from YAML, and shown. */
export interface Kind<T> {
  /** What stands for the value in help: "PORT". Undefined for a flag that may stand alone. */
  readonly placeholder: string | undefined;
  /**
   * Reads a flag or variable. What it throws is worded to follow `… must be`: "a port from 0 to
   * 65535".
   */
  parse(text: string, folder: string): T;
  /** The text of a YAML value, for `parse`; `undefined` where YAML's type cannot be right. */
  fromYaml(value: unknown): string | undefined;
  /** As a person would write it on the command line. */
  show(value: T): string;
}

/** Says what was wanted; the caller knows the key, the value and where it came from. */
export class InvalidValue extends Error {
  constructor(readonly wanted: string) {
    super(`must be ${wanted}`);
  }
}

function scalar(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}

function list(value: unknown): string | undefined {
  if (!Array.isArray(value)) return scalar(value);
  const items = value.map(scalar);
  return items.includes(undefined) ? undefined : items.join(",");
}

const controlCharacter = /\p{Cc}/u;

function checkedText(text: string): string {
  if (text === "") throw new InvalidValue("a text that is not empty");
  if (controlCharacter.test(text)) throw new InvalidValue("text without control characters");
  return text;
}

export const flag: Kind<boolean> = {
  placeholder: undefined,
  parse: (text) => {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    throw new InvalidValue("true, false, 1 or 0");
  },
  fromYaml: scalar,
  show: String,
};

export const text = (placeholder: string): Kind<string> => ({
  placeholder,
  parse: checkedText,
  fromYaml: scalar,
  show: String,
});

/** Relative paths are meant from the current folder, or from that of the file that they are in. */
export const path: Kind<string> = {
  placeholder: "PATH",
  parse: (value, folder) => resolve(folder, checkedText(value)),
  fromYaml: (value) => typeof value === "string" ? value : undefined,
  show: String,
};

export const integer = (placeholder: string, min: number, max: number): Kind<number> => ({
  placeholder,
  parse: (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
    if (!(number >= min && number <= max)) {
      throw new InvalidValue(`a whole number from ${min} to ${max}`);
    }
    return number;
  },
  fromYaml: scalar,
  show: String,
});

export const port: Kind<number> = integer("PORT", 0, 65535);

/** RFC 1123 names, with underscores as container networks use them. */
const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*))*$/i;

function isHost(value: string): boolean {
  return isIP(value) !== 0 || (hostName.test(value) && !/^[\d.]+$/.test(value));
}

/** An address to listen on: an IP, or `localhost`; names would have to be resolved first. */
export const listenHost: Kind<string> = {
  placeholder: "IP",
  parse: (value) => {
    const bare = value.replace(/^\[(.*)\]$/, "$1");
    if (bare === "localhost") return "127.0.0.1";
    if (isIP(bare) === 0) {
      throw new InvalidValue('an IP address such as "127.0.0.1", "0.0.0.0" or "::"');
    }
    return bare;
  },
  fromYaml: scalar,
  show: String,
};

export const host: Kind<string> = {
  placeholder: "HOST",
  parse: (value) => {
    if (!isHost(value)) throw new InvalidValue("a host name or an IP address");
    return value;
  },
  fromYaml: scalar,
  show: String,
};

/** `host:port`, `[v6]:port`; without a port, `defaultPort`. */
export function splitAddress(
  value: string,
  defaultPort?: number,
): { host: string; port: number } | undefined {
  const bare = isIP(value) === 6 ? [value, value, undefined] : undefined;
  const match = bare ?? /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(value) ??
    /^([^:]*)(?::(\d{1,5}))?$/.exec(value);
  if (!match) return undefined;
  const [, name = "", digits] = match;
  const number = digits === undefined ? defaultPort : Number(digits);
  if (number === undefined || number < 1 || number > 65535 || !isHost(name)) return undefined;
  if (value.startsWith("[") && isIP(name) !== 6) return undefined;
  return { host: name, port: number };
}

/** One address that clients dial; the port may be left out. */
export const advertised: Kind<string> = {
  placeholder: "HOST[:PORT]",
  parse: (value) => {
    if (splitAddress(value, 1) === undefined) throw new InvalidValue('"host" or "host:port"');
    return value;
  },
  fromYaml: scalar,
  show: String,
};

/** What a list of this length would mean is no longer a configuration but an accident. */
const mostItems = 1000;

function items(value: string): string[] {
  const all = value.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (all.length > mostItems) throw new InvalidValue(`a list of at most ${mostItems} items`);
  return all;
}

export const addresses = (defaultPort: number): Kind<string[]> => ({
  placeholder: "HOST:PORT,…",
  parse: (value) => {
    const wanted = 'a comma-separated list of "host:port"';
    const found = items(value).map((item) => splitAddress(item, defaultPort));
    if (found.length === 0 || found.includes(undefined)) throw new InvalidValue(wanted);
    return [...new Set(found.map((address) => joinHost(address!.host, address!.port)))];
  },
  fromYaml: list,
  show: (value) => value.join(","),
});

export const paths: Kind<string[]> = {
  placeholder: "PATH,…",
  parse: (value, folder) => {
    const found = items(value);
    if (found.length === 0) throw new InvalidValue("a comma-separated list of paths");
    return found.map((item) => path.parse(item, folder));
  },
  fromYaml: list,
  show: (value) => value.join(","),
};

export const labels: Kind<Readonly<Record<string, string>>> = {
  placeholder: "KEY=VALUE,…",
  parse: (value) => {
    const wanted = 'a comma-separated list of "key=value" of letters, digits, ".", "_" and "-"';
    const found = items(value).map(parseLabel);
    if (found.includes(undefined)) throw new InvalidValue(wanted);
    const pairs = found.map((pair) => pair!);
    if (new Set(pairs.map(([name]) => name)).size < pairs.length) {
      throw new InvalidValue("a list in which no key is given twice");
    }
    return Object.freeze(Object.fromEntries(pairs));
  },
  fromYaml: (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return list(value);
    const pairs = Object.entries(value).map(([name, item]) => [name, scalar(item)] as const);
    if (pairs.some(([, item]) => item === undefined)) return undefined;
    return pairs.map(([name, item]) => `${name}=${item}`).join(",");
  },
  show: (value) => Object.entries(value).map(([name, item]) => `${name}=${item}`).join(","),
};

export const choice = <const C extends string>(...choices: C[]): Kind<C> & { choices: C[] } => ({
  choices,
  placeholder: choices.join("|"),
  parse: (value) => {
    const found = choices.find((item) => item === value);
    if (found === undefined) throw new InvalidValue(`one of ${choices.join(", ")}`);
    return found;
  },
  fromYaml: scalar,
  show: String,
});
