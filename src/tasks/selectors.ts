import { limits } from "./limits.ts";
import { isLabelValue } from "./names.ts";
import type { Labels } from "./task.ts";

/** Labels that each worker has by itself: its id, which no other label replaces, and its host's name. */
export const ownLabels = { worker: "worker", host: "host" } as const;

/** What selectors are compared with. */
export function selectable({ id, labels }: { id: string; labels: Labels }): Labels {
  return { ...labels, [ownLabels.worker]: id };
}

/** The labels of a worker on this host; a label that the user gave comes before the host's name. */
export function withHost(labels: Labels, hostname: string): Labels {
  const isFull = Object.keys(labels).length >= limits.maxLabels;
  if (isFull || hostname === "" || !isLabelValue(hostname)) return labels;
  return { [ownLabels.host]: hostname, ...labels };
}

/** Whether a worker has every label that a task asks for. */
export function matches(selector: Labels, labels: Labels): boolean {
  for (const name in selector) {
    if (!Object.hasOwn(labels, name) || labels[name] !== selector[name]) return false;
  }
  return true;
}

/** `gpu=a100, worker=gpu1` */
export function showLabels(labels: Labels): string {
  return Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", ");
}
