import { signal } from "@preact/signals";

const text = signal("");

/** Says it to people who use a screen reader, when they pause. */
export function announce(message: string): void {
  // The same text twice is a change, too.
  text.value = text.value === message ? `${message}\u00a0` : message;
}

export function Announcer() {
  return <div class="unseen" role="status" aria-live="polite">{text}</div>;
}
