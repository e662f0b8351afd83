// Runs beside the sound: hands over the first channel, a tenth of a second at a time.

class Keeper extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Float32Array(Math.ceil(sampleRate / 10));
    this.count = 0;
  }

  process([input]) {
    const samples = input[0] ?? [];
    for (const y of samples) {
      this.held[this.count++] = y;
      if (this.count === this.held.length) {
        this.port.postMessage(this.held.slice());
        this.count = 0;
      }
    }
    return true;
  }
}

registerProcessor("keeper", Keeper);
