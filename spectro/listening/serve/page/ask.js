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
    throw new Refusal(0, "The service does not answer; is it running?");
  }
  if (answer.ok) return answer;
  let told = `the service answered ${answer.status}`;
  try {
    told = (await answer.json()).detail ?? told;
  } catch { /* it is no JSON: the status must do */ }
  throw new Refusal(answer.status, told);
}

export async function json(path, options) {
  return (await ask(path, options)).json();
}

export async function picture(path) { // an address for an image: <img> shows no token
  return URL.createObjectURL(await (await ask(path)).blob());
}
