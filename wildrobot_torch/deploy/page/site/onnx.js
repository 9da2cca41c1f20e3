// The metadata of an ONNX file: a walk over its protobuf bytes, because onnxruntime-web does not
// show them.

const METADATA = 14; // ModelProto.metadata_props, each an entry with key = 1 and value = 2
const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;

// Name -> text of every metadata entry of an ONNX file (Uint8Array).
export function metadata(file) {
  const text = new TextDecoder();
  const entries = {};
  for (const entry of parts(file, METADATA)) {
    const [key] = parts(entry, 1), [value] = parts(entry, 2);
    if (key) entries[text.decode(key)] = value ? text.decode(value) : "";
  }
  return entries;
}

// Contents (Uint8Array) of every field of this number that holds bytes.
function parts(message, number) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      if (at >= message.length) throw new Error("the file ends too early; it is no ONNX file");
      byte = message[at++];
      value += (byte & 127) * scale; // no shift: lengths may have more than 31 bits
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < message.length) {
    const tag = varint(), kind = tag & 7;
    if (kind === VARINT) varint();
    else if (kind === FIXED64) at += 8;
    else if (kind === FIXED32) at += 4;
    else if (kind === BYTES) {
      const size = varint();
      if (Math.floor(tag / 8) === number) found.push(message.subarray(at, at + size));
      at += size;
    } else throw new Error(`a field of kind ${kind}; it is no ONNX file`);
    if (at > message.length) throw new Error("the file ends too early; it is no ONNX file");
  }
  return found;
}
