// Text that grows: drawn once a frame, and spoken by the sentence.

const BLOCK = 2000;
const NEAR_THE_END = 160;
const KEPT_SENTENCES = 30;

/** Appends to `place`. A long text goes on in a block of its own, so that a frame lays out its end alone. */
export function growing(place) {
  let block = place.appendChild(document.createElement("div"));
  let waiting = "";
  let frame = 0;
  const draw = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!waiting) return;
    following(() => {
      block.append(waiting);
      block.normalize();
    });
    if (block.textContent.length > BLOCK && waiting.endsWith("\n")) block = place.appendChild(document.createElement("div"));
    waiting = "";
  };
  return {
    add(text) {
      waiting += text;
      frame ||= requestAnimationFrame(draw);
    },
    end: draw,
  };
}

/** Whoever reads the end of the page still sees it after `change`; whoever reads above stays there. */
export function following(change) {
  const page = document.documentElement;
  const isAtTheEnd = window.innerHeight + window.scrollY >= page.scrollHeight - NEAR_THE_END;
  change();
  if (isAtTheEnd) window.scrollTo({ top: page.scrollHeight });
}

/** Tells a screen reader, in a log with aria-live, whole sentences: not every token. */
export function speaking(log) {
  let unsaid = "";
  const say = (text) => {
    if (!text.trim()) return;
    const line = document.createElement("p");
    line.textContent = text.trim();
    log.append(line);
    while (log.children.length > KEPT_SENTENCES) log.firstChild.remove();
  };
  return {
    add(text) {
      unsaid += text;
      const sentences = unsaid.split(/(?<=[.!?\u3002\uff01\uff1f]\s|\n)/);
      unsaid = sentences.pop();
      if (sentences.length) say(sentences.join(""));
    },
    end() {
      say(unsaid);
      unsaid = "";
    },
  };
}
