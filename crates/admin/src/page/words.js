// Words and numbers, as a person reads them.

const TEXT = 500; // characters of a text of others

const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Returns a text of others in one line, in which nothing is invisible or turns others around. */
export function plain(text, letters = TEXT) {
  const line = String(text ?? '');
  const cut = line.length > letters ? `${line.slice(0, letters)}…` : line;
  return cut.replace(INVISIBLE, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);
}

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
export const isNumber = Number.isFinite;

export function count(number) {
  return isNumber(number) ? grouped.format(number) : '–';
}

/** Returns a text as a sentence: it begins with a capital letter and ends with a full stop. */
export function sentence(text) {
  const line = plain(text).trim();
  return line && line[0].toUpperCase() + line.slice(1) + (/[.!?…]$/.test(line) ? '' : '.');
}

/** Returns "1 message" or "2 messages". */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function rate(number) {
  if (!isNumber(number)) return '–';
  return number > 0 && number < 9.95 ? number.toFixed(1) : count(Math.round(number));
}

export function bytes(number) {
  if (!isNumber(number)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; number >= 1024 && unit < units.length - 1; unit += 1) number /= 1024;
  return `${unit > 0 && number < 10 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

/** Returns a round trip. */
export function trip(seconds) {
  if (!isNumber(seconds)) return '–';
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** Returns a time span in its two largest units. */
export function span(seconds) {
  if (!isNumber(seconds)) return '–';
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
  ];
  if (days > 0) return hours > 0 && days < 10 ? `${days} d ${hours} h` : `${days} d`;
  if (hours > 0) return minutes > 0 && hours < 10 ? `${hours} h ${minutes} min` : `${hours} h`;
  return minutes > 0 ? `${minutes} min` : `${whole} s`;
}

/** Returns a time of the day, with its date if it is another day. */
export function clock(ms) {
  if (!isNumber(ms)) return '–';
  const at = new Date(ms);
  const time = at.toTimeString().slice(0, 8);
  return at.toDateString() === new Date(Date.now()).toDateString() ? time : `${dayOf(ms)} ${time.slice(0, 5)}`;
}

export function dayOf(ms) {
  return isNumber(ms) ? new Date(ms).toLocaleDateString('en-CA') : '–';
}
