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
// What is taken apart: the content codings gzip, deflate, br, zstd and
// aws-chunked; multipart bodies and their transfer encodings; zip and tar
// archives, gzip, bzip2, xz and zstd files; base64 in JSON, XML, urlencoded
// forms and, from 1 KiB on, in any text; hexadecimal of 1 KiB in text and in
// values of JSON and XML, of a known file also less; arrays of bytes in JSON;
// uuencode in text; text in UTF-16 and UTF-32; mail messages and mailboxes;
// batched HTTP messages; the messages of gRPC and of Connect's streams, each
// compressed one and all of them joined.
//
// Where decoders are known to differ, each reading is an object: base64 with
// padding in the middle or digits of the other alphabet, deflate with and without
// its wrapper, form values with semicolons, tar behind zeros or within a mebibyte of
// other bytes, gzip with a faulty header or trailer. Which decoders do
// was found by comparing with real ones (e2e, TestParsers).
//
// What is left to the engines, since the file around it is an object anyway:
// 7z, RAR and all other archives (encrypted and split ones are recognised where
// a header says so), documents, disk images. What nobody looks into: scripts
// that put a file together, values that a receiver joins (the elements of an array,
// the text around child elements), percent-encoding in several layers, data URIs that
// are not in base64, characters of base64 written as HTML references or escapes of a script, base32, ascii85, yEnc, binhex, the attachments in
// TNEF and RTF, the fields of protobuf and other binary notations.
//
// It must not know engines, HTTP, Envoy, or how bodies are kept: it reads an
// [io.ReaderAt] and puts decoded layers into a [scan.Store].
package content
