import { isIP } from "node:net";
import { resolve } from "node:path";
import { joinHost } from "../base/address.ts";
import { formatDuration, parseDuration } from "../base/durations.ts";
import { UsageError } from "../base/errors.ts";
import { isWorkerId, labelValueSyntax, parseLabel, workerIdSyntax } from "../tasks/names.ts";
import { parseResource, resourceSyntax } from "../tasks/resources.ts";
import { isHost, isNetwork, splitAddress } from "./addresses.ts";

/**
 * The types of values that flags of commands and settings share. A spec is plain data: parsing, help,
 * completion, the reference and the TypeScript types are derived from it.
 */
export type ValueSpec =
  | {
    readonly kind:
      /** Any text. */
      | "text"
      /** Text of at least one character, without control characters. */
      | "line"
      | "path"
      /** A boolean that may stand alone as a flag. */
      | "flag"
      /** Milliseconds, written as `90s` or `1h30m`. */
      | "duration"
      /** A number of bytes, written as `512MiB`. */
      | "bytes"
      | "port"
      /** A name or an IP address. */
      | "host"
      /** An IP address to listen on, or `localhost`; another name would have to be resolved. */
      | "listen_host"
      /** An IP address, or a network as `10.0.0.0/8`. */
      | "network"
      /** `host` or `host:port`, kept as it is written. */
      | "advertised"
      | "url"
      | "worker_id"
      /** `NAME=VALUE`, with any name and value. */
      | "pair"
      /** `KEY=VALUE`, both in the syntax of labels. */
      | "label"
      /** `NAME=N`: how many of a resource. */
      | "resource";
  }
  | { readonly kind: "integer"; readonly min?: number; readonly max?: number }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** `host:port`; the port may be left out. */
  | { readonly kind: "address"; readonly defaultPort: number };

/** The type of one value. */
export type ValueOf<S> = S extends { kind: "flag" } ? boolean
  : S extends { kind: "integer" | "duration" | "bytes" | "port" } ? number
  : S extends { kind: "choice"; choices: readonly (infer C)[] } ? C
  : S extends { kind: "pair" | "label" } ? readonly [name: string, value: string]
  : S extends { kind: "resource" } ? readonly [name: string, count: number]
  : string;

/** The type of all values of a repeatable flag or setting. */
export type ValuesOf<S> = S extends { kind: "pair" | "label" } ? Readonly<Record<string, string>>
  : S extends { kind: "resource" } ? Readonly<Record<string, number>>
  : ValueOf<S>[];

/** Says what is wanted; the caller knows the name, the text and where they came from. */
export class InvalidValue extends Error {
  /** @param wanted worded to follow `… must be`: "a port from 0 to 65535". */
  constructor(readonly wanted: string) {
    super(`must be ${wanted}`);
  }
}

/**
 * Reads one value.
 *
 * @param folder what relative paths are resolved against; without it they stay relative.
 * @throws {InvalidValue}
 */
export function parseValue<S extends ValueSpec>(
  spec: S,
  text: string,
  folder?: string,
): ValueOf<S> {
  return read(spec, text, folder) as ValueOf<S>;
}

/**
 * Reads all values of a repeatable flag or setting. Addresses that are given twice count once; a name
 * of a pair that is given twice is refused.
 *
 * @throws {InvalidValue}
 */
export function parseValues<S extends ValueSpec>(
  spec: S,
  texts: readonly string[],
  folder?: string,
): ValuesOf<S> {
  const values = texts.map((text) => read(spec, text, folder));
  if (spec.kind === "address") return [...new Set(values)] as ValuesOf<S>;
  if (spec.kind !== "pair" && spec.kind !== "label" && spec.kind !== "resource") {
    return values as ValuesOf<S>;
  }
  const pairs = values as (readonly [string, string | number])[];
  const names = pairs.map(([name]) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new InvalidValue(`a list that sets "${twice}" only once`);
  return Object.freeze(Object.fromEntries(pairs)) as ValuesOf<S>;
}

/** A longer list is an accident rather than a configuration. */
const maxItems = 1000;

/** The items of a comma-separated list; empty ones are left out. */
export function splitList(text: string): string[] {
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (items.length > maxItems) throw new InvalidValue(`a list of at most ${maxItems} items`);
  return items;
}

/** What stands for the value in help: "PORT". Undefined for a flag that may stand alone. */
export function placeholderOf(spec: ValueSpec): string | undefined {
  if (spec.kind === "choice") return spec.choices.join("|");
  return placeholders[spec.kind];
}

/** A value as it is written on the command line. */
export function showValue(spec: ValueSpec, value: unknown): string {
  if (Array.isArray(value)) return value.map((item) => showValue(spec, item)).join(",");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(([name, item]) => `${name}=${item}`).join(",");
  }
  if (spec.kind === "duration") return value === 0 ? "0" : formatDuration(value as number);
  if (spec.kind === "bytes") return showBytes(value as number);
  return String(value);
}

const placeholders: Record<Exclude<ValueSpec["kind"], "choice">, string | undefined> = {
  text: "TEXT",
  line: "TEXT",
  path: "PATH",
  flag: undefined,
  duration: "DURATION",
  bytes: "SIZE",
  port: "PORT",
  host: "HOST",
  listen_host: "IP",
  network: "IP[/BITS]",
  advertised: "HOST[:PORT]",
  url: "URL",
  worker_id: "ID",
  pair: "NAME=VALUE",
  label: "KEY=VALUE",
  resource: "NAME=N",
  integer: "N",
  address: "HOST:PORT",
};

function read(spec: ValueSpec, text: string, folder: string | undefined): unknown {
  switch (spec.kind) {
    case "text":
      return text;
    case "line":
      return checked(text, text !== "" && !/\p{Cc}/u.test(text), "one line of text, not empty");
    case "path":
      checked(text, text !== "" && !text.includes("\0"), "a path");
      return folder === undefined ? text : resolve(folder, text);
    case "flag":
      checked(text, /^(true|false|1|0)$/.test(text), "true, false, 1 or 0");
      return text === "true" || text === "1";
    case "duration":
      return readDuration(text);
    case "bytes":
      return readBytes(text);
    case "port":
      return readInteger(text, 0, 65535);
    case "integer":
      return readInteger(text, spec.min, spec.max);
    case "choice":
      return checked(text, spec.choices.includes(text), `one of ${spec.choices.join(", ")}`);
    case "pair": {
      const at = text.indexOf("=");
      checked(text, at > 0, "NAME=VALUE");
      return [text.slice(0, at), text.slice(at + 1)];
    }
    case "label":
      return parseLabel(text) ?? invalid(`KEY=VALUE, each of ${labelValueSyntax}`);
    case "resource":
      return parseResource(text) ?? invalid(resourceSyntax);
    case "worker_id":
      return checked(text, isWorkerId(text), workerIdSyntax);
    case "host":
      return checked(text, isHost(text), "a host name or an IP address");
    case "listen_host":
      return readListenHost(text);
    case "network":
      return checked(text, isNetwork(text), 'an IP address or a network such as "10.0.0.0/8"');
    case "advertised":
      return checked(text, isDialable(text), '"host" or "host:port" that others can dial');
    case "url":
      return checked(text, isUrl(text), 'an address such as "https://gpu1.lan:8765"');
    case "address": {
      const address = splitAddress(text, spec.defaultPort) ?? invalid('"host:port"');
      return joinHost(address.host, address.port);
    }
  }
}

function invalid(wanted: string): never {
  throw new InvalidValue(wanted);
}

function checked(text: string, holds: boolean, wanted: string): string {
  return holds ? text : invalid(wanted);
}

function readInteger(
  text: string,
  min = Number.MIN_SAFE_INTEGER,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  const from = min === Number.MIN_SAFE_INTEGER ? "" : ` from ${min}`;
  return invalid(`a whole number${from}${max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`}`);
}

function readDuration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return invalid('a duration of at most 100 years, such as "90s", "10m" or "1h30m"');
  }
}

const byteUnits = ["", "KiB", "MiB", "GiB", "TiB"];

function readBytes(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,15})(KiB|MiB|GiB|TiB|B)?$/.exec(text) ?? [];
  const bytes = Number(digits) * 1024 ** byteUnits.indexOf(unit === "B" ? "" : unit);
  return Number.isSafeInteger(bytes) ? bytes : invalid('a size such as "512MiB" or "1GiB"');
}

/** In the largest unit that shows it exactly. */
function showBytes(bytes: number): string {
  const power = byteUnits.findLastIndex((_, at) => bytes % 1024 ** at === 0);
  return bytes === 0 ? "0" : `${bytes / 1024 ** power}${byteUnits[power]}`;
}

function readListenHost(text: string): string {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  if (bare === "localhost") return "127.0.0.1";
  return checked(bare, isIP(bare) !== 0, 'an IP address such as "127.0.0.1", "0.0.0.0" or "::"');
}

/** An address that is listened on for all others, such as 0.0.0.0, leads each host to itself. */
function isDialable(text: string): boolean {
  const host = splitAddress(text, 1)?.host;
  return host !== undefined && !/^(0\.0\.0\.0|[0:]+)$/.test(host);
}

/** Without what may be secret: a password, or the token of a login URL. */
function isUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && !/[?#]/.test(text) &&
    url.username === "" && url.password === "" && url.pathname === "/";
}
