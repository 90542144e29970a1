// Package content takes a complete body apart: it undoes content codings,
// splits multipart bodies and reports every object inside, so that an engine
// sees each one exactly as a receiver would get it.
//
// Its rule is: normalise or refuse, never guess like one particular receiver.
// Whatever two receivers could read differently is UNSCANNABLE (or POLICY, for
// archives), and CLEAN means that everything a receiver could decode by the
// labels or by the leading bytes of the content was reported as an object.
// What was found before a refusal is reported all the same, so that an engine
// can still name the malware.
//
// Two kinds of wrapping are judged differently:
//
//   - declared (Content-Encoding, Content-Type, the header of a part): the
//     receiver will undo it, so it must be whole and well-formed;
//   - recognised by content only (a .gz download): the receiver gets a file.
//     What decodes is an object; a file that merely begins like a known format
//     and does not decode is plain content.
//
// It must not know engines, HTTP, Envoy, or how bodies are kept: it reads an
// [io.ReaderAt] and puts decoded layers into a [scan.Store].
package content
