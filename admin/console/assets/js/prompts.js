// Prompts of what people have: lines, JSONL in any of the known shapes, CSV.

export const MOST = 200;
const READ_AT_MOST = 4_000_000;
const NAMES = ["prompt", "input", "question", "text", "query", "instruction"];

const asked = (content) => [{ role: "user", content }];

export const ofLines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, MOST).map(asked);

/** Of a file's text, by its name: .csv, .jsonl or .json lines; anything else has one prompt a line. */
export function ofFile(name, text) {
  if (/\.csv$/i.test(name)) return ofTable(text);
  return /\.jsonl?$/i.test(name) || text.trimStart().startsWith("{") ? ofJson(text) : ofLines(text);
}

/** The beginning of a file of the project: as much as is needed, however long it is. */
export async function beginningOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let lines = 0;
  while (lines <= MOST && text.length < READ_AT_MOST) {
    const { value, done } = await reader.read();
    if (done) return text;
    text += value;
    lines += value.split("\n").length - 1;
  }
  reader.cancel();
  return text.slice(0, text.lastIndexOf("\n") + 1);
}

function ofJson(text) {
  const found = [];
  for (const [number, line] of text.split("\n").entries()) {
    if (!line.trim()) continue;
    try {
      const prompt = promptOf(JSON.parse(line));
      if (prompt) found.push(prompt);
    } catch {
      throw new Error(`Line ${number + 1} is not JSON.`);
    }
    if (found.length === MOST) break;
  }
  return found;
}

/** Lines for training (`messages`), for preferences (`input.messages`), for evals (`item`), or with one of NAMES. */
function promptOf(line) {
  if (typeof line === "string") return line.trim() ? asked(line) : null;
  const item = line.item ?? line;
  const messages = [line.messages, line.input?.messages, item.messages, item.prompt, item.input].find(Array.isArray);
  if (messages) return beforeTheAnswer(messages);
  const text = NAMES.map((name) => item[name]).find((each) => typeof each === "string" && each.trim());
  return text ? asked(text) : null;
}

function beforeTheAnswer(messages) {
  const last = messages.findLastIndex((each) => each.role === "user");
  return last < 0 ? null : messages.slice(0, last + 1).map(({ weight, ...rest }) => rest);
}

function ofTable(text) {
  const [head, ...rows] = tableOf(text);
  if (!head) return [];
  const named = head.findIndex((each) => NAMES.includes(each.trim().toLowerCase()));
  return (named < 0 ? [head, ...rows] : rows).map((row) => row[Math.max(0, named)]?.trim()).filter(Boolean).slice(0, MOST).map(asked);
}

/** Rows of cells (RFC 4180): a quoted cell may hold commas, lines and doubled quotes. */
function tableOf(text) {
  const rows = [];
  let row = [];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
    row.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === ",") continue;
    if (row.some(Boolean)) rows.push(row);
    row = [];
  }
  return rows;
}
