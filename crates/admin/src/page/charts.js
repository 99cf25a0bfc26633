// The small charts of the last ten minutes.

import { draw, make, set } from './elements.js';
import { SECONDS } from './known.js';
import { count, rate, span, trip } from './words.js';

const CHARTS = [
  {
    title: 'Messages',
    lines: ['out', 'in'],
    least: 1,
    format: (value) => `${rate(value)}/s`,
    now: ({ out, in: into }) => [
      ['key', `${rate(out)}/s`, 'out'],
      ['key second', `${rate(into)}/s`, 'in'],
    ],
  },
  {
    title: 'Round trip',
    lines: ['trip'],
    least: 0.001,
    format: trip,
    now: (now, one) => [['', trip(now.trip), one ? '' : 'median']],
  },
  {
    title: 'Waiting',
    lines: ['queue'],
    least: 10,
    format: count,
    now: ({ queue }, one, oldest) => [['', count(queue), queue > 0 ? `oldest ${span(oldest)}` : 'messages']],
  },
];

/** The three charts of a track. */
export class ChartRow {
  constructor(box, one) {
    this.one = one;
    this.charts = CHARTS.map((kind) => new Chart(kind));
    box.append(...this.charts.map((chart) => chart.figure));
  }

  show(track, oldest) {
    for (const chart of this.charts) chart.show(track, this.one, oldest);
  }
}

class Chart {
  constructor(kind) {
    this.kind = kind;
    this.figure = make('figure', 'chart');
    const heading = make('figcaption', '');
    this.now = make('p', 'now');
    heading.append(make('h3', '', kind.title), this.now);
    this.svg = draw('svg', { viewBox: `0 0 ${SECONDS - 1} 100`, preserveAspectRatio: 'none', role: 'img' });
    this.paths = kind.lines.map((line, index) => draw('path', { class: index ? 'second' : 'first' }));
    this.area = draw('path', { class: 'area' });
    this.svg.append(draw('path', { class: 'top', d: `M0 0H${SECONDS}` }), this.area, ...this.paths);
    this.max = make('span', 'max');
    const plot = make('div', 'plot');
    plot.append(this.svg, this.max, make('span', 'from', '10 min ago'), make('span', 'to', 'now'));
    this.figure.append(heading, plot);
  }

  show(track, one, oldest) {
    const { lines, least, format } = this.kind;
    let highest = 0;
    for (const line of lines) for (const value of track.lines[line]) if (value > highest) highest = value;
    const top = roundUp(Math.max(highest, least));
    set(this.max, format(top));
    lines.forEach((line, index) => this.paths[index].setAttribute('d', pathOf(track, line, top, false)));
    if (lines.length === 1) this.area.setAttribute('d', pathOf(track, lines[0], top, true));
    this.showNow(this.kind.now(track.now, one, oldest));
    this.describe(format(highest));
  }

  showNow(parts) {
    for (const [index, [key, value, label]] of parts.entries()) {
      if (!this.now.children[index]) {
        const part = make('span');
        part.append(key ? make('i', key) : '', make('b'), ' ', make('small'));
        this.now.append(part);
      }
      const part = this.now.children[index];
      set(part.querySelector('b'), value);
      set(part.querySelector('small'), label);
    }
    this.parts = parts;
  }

  /** Describes the picture in words, which need not be newer than ten seconds. */
  describe(highest) {
    const now = Date.now();
    if (now - (this.describedAt ?? 0) < 10_000) return;
    this.describedAt = now;
    const values = this.parts.map(([, value, label]) => `${value} ${label}`.trim()).join(', ');
    this.svg.setAttribute(
      'aria-label',
      `${this.kind.title} in the last ten minutes: now ${values}; at most ${highest}`,
    );
  }
}

/** Returns the line of a track as the path of an SVG, with holes where nothing is known. */
function pathOf(track, line, top, closed) {
  const values = track.lines[line];
  let path = '';
  let from = -1;
  for (let index = 0; index <= SECONDS; index += 1) {
    const value = index < SECONDS ? values[(track.next + index) % SECONDS] : NaN;
    if (value === value) {
      path += `${from < 0 ? 'M' : 'L'}${index} ${Math.round(1000 - (value / top) * 960) / 10}`;
      if (from < 0) from = index;
    } else if (from >= 0) {
      if (closed) path += `V100H${from}Z`;
      from = -1;
    }
  }
  return path;
}

/** Returns the next number that is short to write. */
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= number * 0.9999) * power;
}
