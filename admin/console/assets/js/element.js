/** An element with attributes (null leaves one out, a function listens) and children (text, elements, or null for none). */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

/** A button that does something. */
export function button(text, act, more = {}) {
  return element("button", { type: "button", class: "quiet", click: act, ...more }, text);
}
