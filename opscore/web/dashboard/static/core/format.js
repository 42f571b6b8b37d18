// Facts as people read them: times in the browser's own zone and language, numbers short.

const EXACT = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, timeZoneName: "short",
});
const PRECISE = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const WHOLE = new Intl.NumberFormat();
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export const NOTHING = "–";

export const exactTime = (instant) => EXACT.format(new Date(instant));
export const preciseTime = (instant) => PRECISE.format(new Date(instant));
/** The time of day, with the day before it where that is not today. */
export const lineTime = (instant) => (isToday(instant) ? preciseTime(instant) : `${DAY.format(new Date(instant))}, ${preciseTime(instant)}`);
export const isToday = (instant) => new Date(instant).toDateString() === new Date().toDateString();
export const minuteTime = (instant) => MINUTE.format(new Date(instant));
export const dayTime = (instant) => `${DAY.format(new Date(instant))}, ${MINUTE.format(new Date(instant))}`;
export const whole = (number) => WHOLE.format(number);
export const short = (number) => (Math.abs(number) < 10_000 ? WHOLE.format(number) : SHORT.format(number));
export const percent = (part, all) => (all ? `${((part / all) * 100).toFixed(part && part / all < 0.1 ? 1 : 0)} %` : NOTHING);

/** "3 min ago", "in 5 s"; the day where that says more. */
export function relative(instant, now) {
  const seconds = (now - new Date(instant)) / 1000;
  const past = seconds >= 0;
  const much = Math.abs(seconds);
  if (much < 1.5) return "now";
  if (much > 30 * 86_400) return dayTime(instant);
  const text = much < 60 ? `${Math.round(much)} s` : much < 3600 ? `${Math.floor(much / 60)} min`
    : much < 86_400 ? `${Math.floor(much / 3600)} h` : `${Math.floor(much / 86_400)} d`;
  return past ? `${text} ago` : `in ${text}`;
}

/** A length of time from milliseconds: "3.2 ms", "1.4 s", "2 min 5 s". */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NOTHING;
  const value = Math.max(0, ms);
  if (value < 1) return `${value.toFixed(value ? 1 : 0)} ms`;
  if (value < 1000) return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
  const seconds = Math.floor(value / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

export const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** How many bytes a text takes, for people. */
export function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} kB` : `${(size / 1024 / 1024).toFixed(1)} MB`;
}
