import { signal } from "@preact/signals";

const text = signal("");

/** Announces a message to screen readers at their next pause. */
export function announce(message: string): void {
  // Repeating the same text must be a change, or it is not announced.
  text.value = text.value === message ? `${message}\u00a0` : message;
}

export function Announcer() {
  return <div class="unseen" role="status" aria-live="polite">{text}</div>;
}
