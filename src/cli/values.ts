import { parseDuration } from "../base/durations.ts";
import { UsageError } from "../base/errors.ts";
import type { OptionSpec } from "./command.ts";

/** The value of one option from its text. */
export function optionValue(name: string, spec: OptionSpec, text: string): unknown {
  const unfit = (wanted: string) =>
    new UsageError(`"${name}" is ${JSON.stringify(text)}, must be ${wanted}`);
  switch (spec.kind) {
    case "flag":
      return text === "true";
    case "text":
      return text;
    case "path":
      if (text === "" || text.includes("\0")) throw unfit("a path");
      return text;
    case "integer": {
      const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = spec;
      const value = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
      if (value >= min && value <= max) return value;
      if (spec.min === undefined && spec.max === undefined) throw unfit("a whole number");
      if (spec.max === undefined) throw unfit(`a whole number from ${min}`);
      throw unfit(`a whole number from ${min} to ${max}`);
    }
    case "duration":
      try {
        return parseDuration(text);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        throw unfit('a duration such as "90s", "10m" or "1h30m"');
      }
    case "choice":
      if (!spec.choices.includes(text)) throw unfit(`one of ${spec.choices.join(", ")}`);
      return text;
    case "pair": {
      const at = text.indexOf("=");
      if (at < 1) throw unfit("NAME=VALUE");
      return [text.slice(0, at), text.slice(at + 1)];
    }
  }
}
