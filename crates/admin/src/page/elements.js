// Elements of the page, and their texts. Whatever comes from others is text, and becomes nothing else:
// nothing in this folder uses `innerHTML`.

import { clock, isNumber } from './words.js';

export const byId = (id) => document.getElementById(id);

/** Sets the text of an element, if it is another one. */
export function set(element, text) {
  if (element.shown === text) return;
  element.shown = text;
  element.textContent = text;
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export function make(tag, className = '', text = '') {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export function draw(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function timeElement(ms) {
  const element = make('time', '', clock(ms));
  if (isNumber(ms)) element.dateTime = new Date(ms).toISOString();
  return element;
}
