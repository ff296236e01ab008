import { limits } from "./limits.ts";

/** The syntax of labels and worker ids, for every layer that reads or checks them. */

/** As in Kubernetes, so that its labels can be passed on. */
const labelName = /^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/;

export const labelNameSyntax =
  `up to ${limits.maxLabelLength} letters, digits, ".", "_", "/" and "-"`;
export const labelValueSyntax = `up to ${limits.maxLabelLength} letters, digits, ".", "_" and "-"`;

export function isLabelName(name: string): boolean {
  return name.length <= limits.maxLabelLength && labelName.test(name);
}

/** A value may be empty. */
export function isLabelValue(value: string): boolean {
  return value.length <= limits.maxLabelLength && labelValue.test(value);
}

/** Splits `key=value`; `undefined` if it is not a label. Selectors are made of the same pairs. */
export function parseLabel(text: string): [name: string, value: string] | undefined {
  const at = text.indexOf("=");
  const [name, value] = [text.slice(0, at), text.slice(at + 1)];
  return at > 0 && isLabelName(name) && isLabelValue(value) ? [name, value] : undefined;
}

/** A folder on the worker carries the id as its name, so it may not start with a dot. */
const workerId = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

export const workerIdSyntax =
  `1 to ${limits.maxWorkerIdLength} letters, digits, ".", "_" or "-", not starting with "."`;

export function isWorkerId(id: string): boolean {
  return id.length <= limits.maxWorkerIdLength && workerId.test(id);
}
