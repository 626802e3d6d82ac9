// Questions to the session, and its answers as they come.
const ENDED = "fame app has ended in the middle of this. Start it again, and open the address that it prints.";
const token = new URLSearchParams(location.search).get("token");

/** A question; each message goes to `tell`. Returns the last message; throws what is wrong with it. */
export async function ask(name, content, { tell = () => {}, signal } = {}) {
  const upload = content instanceof Blob;
  let response;
  try {
    response = await fetch(`api/${name}`, {
      method: "POST",
      headers: { Authorization: `token ${token}`, ...(upload ? { "X-Name": encodeURIComponent(content.name ?? "") } : {}) },
      body: upload ? content : JSON.stringify(content),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("fame app does not answer: has it been ended? Start it again, and open the address that it prints.");
  }
  if (!response.ok) throw new Error((await response.text()).replace(/^fame app: /, "").trim());
  let last = null;
  for await (const line of lines(response.body)) {
    const message = JSON.parse(line);
    if (message.end) return last;
    last = message;
    if (last.error) throw Object.assign(new Error(last.error), { forgotten: last.forgotten });
    tell(last);
  }
  throw new Error(ENDED);
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error(ENDED);
    });
    if (done) return;
    const pieces = value.split("\n");
    for (const piece of pieces.slice(0, -1)) {
      parts.push(piece);
      yield parts.join("");
      parts = [];
    }
    parts.push(pieces.at(-1));
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** The numbers of an array; base64 of little-endian float32. */
export const numbers = (array) => new Float32Array(bytes(array.float32).buffer);

export const picture = (text) => createImageBitmap(new Blob([bytes(text)], { type: "image/webp" }));

export function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes(text)], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
