/** Times as people read them beside what was said then. */

/**
 * Hours and minutes by the clock of this machine, with the day before today.
 *
 * @param ms Milliseconds since 1970.
 */
export function clockTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${
    two(date.getDate())
  } ${time}`;
}
