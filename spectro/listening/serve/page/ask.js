// Asking the service: one function, which knows the token and turns a refusal into an Error.

let token = "";

export class Refusal extends Error {
  constructor(status, told) {
    super(told);
    this.status = status;
  }
}

export function show(word) { // the token, from here on
  token = word;
}

export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    await checkReadable(options.body); // the browser tells neither from the other
    throw new Refusal(0, "The service does not answer; is it running?");
  }
  if (answer.ok) return answer;
  let told = `the service answered ${answer.status}`;
  try {
    told = (await answer.json()).detail ?? told;
  } catch { /* it is no JSON: the status must do */ }
  throw new Refusal(answer.status, told);
}

async function checkReadable(file) {
  if (!(file instanceof Blob)) return;
  const reader = file.stream().getReader(); // a slice of a file that is gone reads as empty
  try {
    await reader.read();
    reader.cancel();
  } catch {
    throw new Refusal(0, `${file.name} cannot be read: it was moved, removed or changed after it was`
      + " chosen, or it is a folder; choose it again");
  }
}

export async function json(path, options) {
  return (await ask(path, options)).json();
}

export async function picture(path) { // an address for an image: <img> shows no token
  return URL.createObjectURL(await (await ask(path)).blob());
}
