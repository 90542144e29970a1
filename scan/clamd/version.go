package clamd

import (
	"context"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Signatures asks clamd for its VERSION. The version is the whole reply, and
// Built the database's date, taken as local time because clamd gives no zone
// (so it is off by the difference if the daemon runs in another one). Built is
// zero, and the version does not change with the signatures, where no official
// database is loaded: clamd then names only its program version.
//
// Errors are those of [Engine.Scan]; clamd 1.5 and later may have the command
// switched off, which is KindRefused.
func (e *Engine) Signatures(ctx context.Context) (scan.Signatures, error) {
	conn, release, err := e.connect(ctx)
	if err != nil {
		return scan.Signatures{}, err
	}
	defer release()
	if _, err := conn.Write([]byte("zVERSION\x00")); err != nil {
		if ctx.Err() != nil {
			return scan.Signatures{}, ended(ctx)
		}
		return scan.Signatures{}, &scan.Error{Kind: scan.KindUnreachable, Op: "ask clamd for its version", Err: err}
	}
	r := receive(conn, make([]byte, maxReply+1))
	if r.complete() {
		return parseVersion(r.raw)
	}
	if ctx.Err() != nil {
		return scan.Signatures{}, ended(ctx)
	}
	_, err = r.verdict()
	return scan.Signatures{}, err
}

// parseVersion reads "ClamAV 1.4.6/27500/Sun Nov 22 08:26:11 2026\x00" or
// "ClamAV 1.4.6\x00". The error is an [*scan.Error].
func parseVersion(raw []byte) (scan.Signatures, error) {
	line, rest, terminated := strings.Cut(string(raw), "\x00")
	switch {
	case !terminated || rest != "" || len(raw) > maxReply:
		return scan.Signatures{}, protocolError("no version in %d bytes", len(raw))
	case line == "COMMAND UNAVAILABLE":
		return scan.Signatures{}, &scan.Error{Kind: scan.KindRefused, Op: "ask clamd for its version: " + line}
	case !strings.HasPrefix(line, "ClamAV "):
		return scan.Signatures{}, protocolError("no version in %d bytes", len(line))
	}
	s := scan.Signatures{Version: line}
	parts := strings.SplitN(line, "/", 3)
	if len(parts) == 3 {
		// An unreadable date leaves the age unknown; it says nothing of scans.
		s.Built, _ = time.ParseInLocation(time.ANSIC, parts[2], time.Local)
	}
	return s, nil
}
