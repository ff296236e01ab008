export type Level = "debug" | "info" | "warn" | "error";
const levels: readonly Level[] = ["debug", "info", "warn", "error"];

export type Fields = Record<string, string | number | boolean | undefined>;

/** Structured log on stderr. A message is a short constant text; what varies goes into fields. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A log that adds these fields to every line. */
  with(fields: Fields): Log;
}

export interface LogOptions {
  level: Level;
  format: "text" | "json";
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Takes one whole line with its end. */
  write: (line: string) => void;
}

export function createLog(options: LogOptions, inherited: Fields = {}): Log {
  const lowest = levels.indexOf(options.level);
  const at = (level: Level) => (message: string, fields: Fields = {}) => {
    if (levels.indexOf(level) < lowest) return;
    const all = { ...inherited, ...fields };
    options.write(
      options.format === "json"
        ? jsonLine(options.now(), level, message, all)
        : textLine(options.now(), level, message, all),
    );
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLog(options, { ...inherited, ...fields }),
  };
}

function jsonLine(now: number, level: Level, msg: string, fields: Fields): string {
  return JSON.stringify({ time: new Date(now).toISOString(), level, msg, ...fields }) + "\n";
}

function textLine(now: number, level: Level, message: string, fields: Fields): string {
  const time = new Date(now).toISOString().slice(11, 19);
  const mark = level === "info" ? "" : `${level}: `;
  return `${time} ${mark}${logText(message, fields)}\n`;
}

/** A message and its fields as text, without time and level: `ready role=worker address=a:1`. */
export function logText(message: string, fields: Fields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${fieldText(String(value))}`);
  return escaped(message) + pairs.join("");
}

/** A value that could be mistaken for more than one field, or for another line, is quoted. */
function fieldText(value: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value);
}

/** Peers and files choose part of some messages: no control character reaches the terminal. */
function escaped(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (c) => JSON.stringify(c).slice(1, -1));
}
