import htmx from "htmx.org";

// A refused form is shown where its answer would be, too.
htmx.config.responseHandling = [
  { code: "204", swap: false },
  { code: "[23]..", swap: true },
  { code: "[45]..", swap: true, error: true },
];

export { htmx };
