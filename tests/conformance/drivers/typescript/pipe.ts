/** Messages on stdin and stdout: each is preceded by its length, four bytes, big-endian. */

/** The messages of a stream, until it ends. */
export async function* messages(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
      const end = 4 + buffer.readUInt32BE();
      yield buffer.subarray(4, end);
      buffer = buffer.subarray(end);
    }
  }
}

/** A message to stdout. */
export function write(message: Uint8Array): void {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([head, message]));
}
