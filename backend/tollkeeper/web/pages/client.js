// What every page shares: the API, the link's token, what is said. Nothing from outside ever becomes markup.

/** A refusal in words, as the API's problem documents tell it. */
export class Problem extends Error {
  constructor({ status = 0, code = "", detail = "", requestId = "", param = "" }) {
    super(detail || "Something went wrong.");
    Object.assign(this, { status, code, requestId, param });
  }
}

/** `body` is sent as JSON; `csrf` goes along with what changes something by cookie. */
export async function ask(method, path, { body, csrf } = {}) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (csrf) headers["x-tollkeeper-csrf"] = csrf;
  let answer;
  let text;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
    text = await answer.text();
  } catch {
    throw new Problem({ code: "unreachable", detail: "The gateway cannot be reached. Check your connection and try again." });
  }
  const data = read(text);
  if (answer.ok) return data;
  throw new Problem({
    status: answer.status,
    code: word(data?.code),
    detail: typeof data?.detail === "string" ? data.detail : `The gateway answered ${answer.status}.`,
    requestId: word(data?.request_id) || word(answer.headers.get("x-request-id")),
    param: word(data?.param),
  });
}

/** `GET /me`, or null for who is not signed in. */
export async function whoAmI() {
  try {
    return await ask("GET", "/me");
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** What stands behind `#token=`. It leaves the address bar, and with it the history, at once. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  // A second link opened in the same tab changes the fragment alone.
  addEventListener("hashchange", () => location.reload());
  return token;
}

/** A path of this site, or the fallback. */
export function ownPath(text, fallback = "/console") {
  return /^\/(?![/\\])[!-[\]-~]{0,1000}$/.test(text ?? "") ? text : fallback;
}

export function word(text) {
  return typeof text === "string" && /^[\w.-]{1,100}$/.test(text) ? text : "";
}

export function find(id) {
  return document.getElementById(id);
}

export function show(...ids) {
  for (const id of ids) find(id).hidden = false;
}

export function hide(...ids) {
  for (const id of ids) find(id).hidden = true;
}

export function write(id, text) {
  find(id).textContent = text;
}

export function say(text) {
  find("problem").replaceChildren();
  find("said").replaceChildren(element("p", text));
}

export function complain(error) {
  const lines = [element("p", error.message)];
  if (error.requestId) lines.push(element("small", `Request id: ${error.requestId}`));
  find("said").replaceChildren();
  find("problem").replaceChildren(...lines);
  document.querySelector(`form:not([hidden]) [name="${CSS.escape(error.param || "-")}"]`)?.focus();
}

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Runs `act(fields, button)` for each submit, one at a time; what it throws is shown. */
export function onSubmit(id, act) {
  const form = find(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    form.setAttribute("aria-busy", "true");
    try {
      await act(Object.fromEntries(new FormData(form)), event.submitter);
    } catch (error) {
      complain(error);
    } finally {
      form.removeAttribute("aria-busy");
    }
  });
}

function read(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
