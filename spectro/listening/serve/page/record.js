// The microphone as a WAV file: samples as they come, without the browser's codecs or filters.

const LONGEST = 300; // s

class Recorder {
  constructor(stream, told) {
    this.stream = stream;
    this.parts = [];
    this.samples = 0;
    this.told = told;
  }

  async start() {
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklet.js");
    const source = this.context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.context, "keeper", { numberOfOutputs: 0 });
    this.node.port.onmessage = (event) => this.take(event.data);
    source.connect(this.node);
  }

  take(samples) {
    this.parts.push(samples);
    this.samples += samples.length;
    const loudest = samples.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
    const seconds = this.samples / this.context.sampleRate;
    this.told(seconds, loudest, seconds >= LONGEST);
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
    return wav(this.parts, this.samples, this.context.sampleRate);
  }
}

export async function record(told) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("The browser gives a microphone only to pages of this machine, or over HTTPS.");
  }
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch (error) {
    const why = { NotAllowedError: "it is not allowed", NotFoundError: "there is none" }[error.name];
    throw new Error(`No microphone: ${why ?? error.message}.`);
  }
  const recorder = new Recorder(stream, told);
  await recorder.start();
  return recorder;
}

function wav(parts, count, rate) { // 16 bits, mono
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const part of parts) {
    for (const y of part) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, y))), true);
      at += 2;
    }
  }
  const when = new Date();
  const two = (n) => String(n).padStart(2, "0");
  const day = `${when.getFullYear()}${two(when.getMonth() + 1)}${two(when.getDate())}`;
  const name = `${day}_${two(when.getHours())}${two(when.getMinutes())}${two(when.getSeconds())}.wav`;
  return new File([view], name, { type: "audio/wav" });
}
