package clamd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	// maxReply is the longest reply that is read, terminator included.
	maxReply = 4 << 10
	// timedOut ends with a newline whatever the command's terminator was
	// (measured, 1.4.6).
	timedOut = "COMMAND READ TIMED OUT\n"
	overflow = "INSTREAM size limit exceeded. ERROR"
	prefix   = "stream: "
	found    = " FOUND"
	failed   = " ERROR"
)

// received is what came back over one connection, and why reading stopped:
// nil means that the reply is complete or longer than it may be.
type received struct {
	raw []byte
	err error
}

func (r received) complete() bool { return isComplete(r.raw) }

func isComplete(raw []byte) bool {
	return bytes.IndexByte(raw, 0) >= 0 || string(raw) == timedOut
}

// receive reads one reply into buf, to its terminator and not to the end of
// the connection, which clamd may keep open. It ends by its own when the
// connection is closed.
func receive(conn net.Conn, buf []byte) received {
	n := 0
	for n < len(buf) {
		m, err := conn.Read(buf[n:])
		n += m
		if isComplete(buf[:n]) {
			break
		}
		if err != nil {
			return received{raw: buf[:n], err: err}
		}
	}
	// Whoever still writes is told that the reply is there already.
	_ = conn.SetWriteDeadline(time.Unix(1, 0))
	return received{raw: buf[:n]}
}

// verdict judges an INSTREAM reply.
func (r received) verdict() (scan.Verdict, error) {
	if r.err == nil || r.complete() {
		return parseReply(r.raw)
	}
	err := r.err
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("connection closed after %d bytes of a reply", len(r.raw))
	}
	return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "read the reply of clamd", Err: err}
}

// parseReply judges the reply to one zINSTREAM outside a session, terminator
// included. Only the bytes "stream: OK\x00" are CLEAN. The error is an
// [*scan.Error] of KindProtocol or KindRefused.
func parseReply(raw []byte) (scan.Verdict, error) {
	line, rest, terminated := strings.Cut(string(raw), "\x00")
	switch {
	case len(raw) > maxReply:
		return scan.Verdict{}, protocolError("a reply of more than %d bytes", maxReply)
	case line == timedOut && !terminated:
		return scan.Verdict{}, protocolError("it gave up waiting for us")
	case !terminated:
		return scan.Verdict{}, protocolError("an unterminated reply of %d bytes", len(line))
	case rest != "":
		return scan.Verdict{}, protocolError("%d bytes after the reply", len(rest))
	case line == overflow:
		return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge, Detail: line}, nil
	case line == "COMMAND UNAVAILABLE":
		return scan.Verdict{}, &scan.Error{Kind: scan.KindRefused, Op: "scan with clamd", Err: errors.New(line)}
	}
	answer, ok := strings.CutPrefix(line, prefix)
	if !ok {
		return scan.Verdict{}, protocolError("%s", unknown(line))
	}
	if answer == "OK" {
		return scan.CleanVerdict(), nil
	}
	if name, ok := strings.CutSuffix(answer, found); ok {
		return classify(name), nil
	}
	if text, ok := strings.CutSuffix(answer, failed); ok {
		return judgeFailure(text)
	}
	return scan.Verdict{}, protocolError("%s", unknown(line))
}

// unknown describes a reply that is none. What is listening there may repeat what
// it was sent, so only words of clamd's own are quoted.
func unknown(line string) string {
	switch text := strings.TrimSuffix(line, failed); text {
	case "UNKNOWN COMMAND", "Error writing to temporary file":
		return "it says " + text
	}
	return fmt.Sprintf("%d bytes that are no reply of clamd's", len(line))
}

func protocolError(format string, args ...any) error {
	return &scan.Error{Kind: scan.KindProtocol, Op: "read the reply of clamd", Err: fmt.Errorf(format, args...)}
}

// classify turns the name of a detection into a verdict. Some names are
// ClamAV's way to say something else than malware; a name that only looks like
// them, because a signature file chose it, ends in ".UNOFFICIAL" and is malware.
func classify(name string) scan.Verdict {
	name = withoutDetails(name)
	v := scan.InfectedVerdict(name)
	switch {
	case name == "":
		return scan.InfectedVerdict(scan.SafeThreat(name))
	case strings.HasSuffix(name, ".UNOFFICIAL"):
	case within(name, "Heuristics.Limits.Exceeded"):
		v.Outcome, v.Cause = scan.OutcomeUnscannable, scan.CauseEngineLimit
	case within(name, "Heuristics.Encrypted"):
		v.Outcome, v.Cause = scan.OutcomePolicy, scan.CauseEncrypted
	case within(name, "Heuristics.OLE2.ContainsMacros"):
		v.Outcome, v.Cause = scan.OutcomePolicy, scan.CauseMacro
	}
	return v
}

// within reports whether name is family or a member of it.
func within(name, family string) bool {
	return name == family || strings.HasPrefix(name, family+".")
}

// withoutDetails removes the "(digest:size)" that ExtendedDetectionInfo adds.
func withoutDetails(name string) string {
	open := strings.LastIndexByte(name, '(')
	if open < 0 || !strings.HasSuffix(name, ")") {
		return name
	}
	digest, size, ok := strings.Cut(name[open+1:len(name)-1], ":")
	if !ok || digest == "" || size == "" ||
		strings.Trim(digest, "0123456789abcdef") != "" || strings.Trim(size, "0123456789") != "" {
		return name
	}
	return name[:open]
}

// judgeFailure tells what the content provoked from what befell the daemon.
// The first must be a verdict, or a sender could choose fail-open by sending
// something that libclamav stumbles over. The texts are those of cl_strerror
// in libclamav 1.4.6.
func judgeFailure(text string) (scan.Verdict, error) {
	v := scan.Verdict{Outcome: scan.OutcomeUnscannable, Detail: text}
	switch text {
	case "Can't unpack some data", "Can't parse data", "Bad format or broken data":
		v.Cause = scan.CauseMalformedBody
	case "Exceeded time limit":
		v.Cause = scan.CauseScanTimeout
	case "Exceeded max recursion depth", "Exceeded max scan size", "Exceeded max scan files",
		"Error during bytecode execution":
		v.Cause = scan.CauseEngineLimit
	default:
		return scan.Verdict{}, protocolError("it failed: %s", ownWords(text))
	}
	return v, nil
}

// ownWords quotes what libclamav may say of itself, and of anything else the
// length alone.
func ownWords(text string) string {
	switch text {
	case "Can't allocate memory", "Can't open file or directory", "Can't create new file", "Can't create temporary file",
		"Can't create temporary directory", "Can't write to file", "Can't read file", "Can't map file into memory",
		"Can't get file status", "Can't set file offset", "Can't access file", "Can't duplicate file descriptor", "Malformed database":
		return text
	}
	return fmt.Sprintf("%d bytes of text", len(text))
}
