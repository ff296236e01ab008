/** When a certificate has to be replaced: pure functions of its dates and of now. */

const dayMs = 86_400_000;

/** Long enough to notice, short enough that a warning means something. */
const warningDays = 30;

export interface Validity {
  notBefore: Date;
  notAfter: Date;
}

/** Whole days that are left; negative after the end. */
export function daysLeft({ notAfter }: Pick<Validity, "notAfter">, now: number): number {
  return Math.floor((notAfter.getTime() - now) / dayMs);
}

/** Whether to warn people: within 30 days of the end, or after it. */
export function expiresSoon(certificate: Pick<Validity, "notAfter">, now: number): boolean {
  return daysLeft(certificate, now) < warningDays;
}

/**
 * Whether to replace the certificate: in its last 30 days, or in the last third of its life if that is
 * shorter. Otherwise a short-lived certificate would be due from its first day.
 */
export function renewalDue(
  { notBefore, notAfter, now }: Validity & { now: number },
): boolean {
  const third = (notAfter.getTime() - notBefore.getTime()) / 3;
  return notAfter.getTime() - now < Math.min(warningDays * dayMs, third);
}
