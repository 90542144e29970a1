package content_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// frame makes a gRPC frame.
func frame(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

func TestCompressedMessagesAreDecoded(t *testing.T) {
	e := eicar()
	body := append(frame(0, []byte("plain")), frame(1, gz(t, e))...)
	text := base64.StdEncoding.EncodeToString(frame(0, []byte("plain"))) + base64.StdEncoding.EncodeToString(append(frame(1, zs(t, e)), frame(0x80, []byte("grpc-status: 0"))...))
	rows := []struct{ label, body, path string }{
		{"application/grpc", string(body), "body/message[0]"},
		{"application/grpc+proto", string(frame(1, zl(t, e))), "body/message[0]"},
		{"application/grpc-web-text+proto", text, "body/grpc-web-text/message[0]"},
	}
	for _, row := range rows {
		u := unwrap(t, []byte(row.body), labelled(row.label), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, row.path, e)
	}
}

func TestFaultyMessagesAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		body  []byte
		cause scan.Cause
	}{
		"cut":                 {frame(0, []byte("plain"))[:8], scan.CauseMalformedBody},
		"cut header":          {append(frame(0, []byte("plain")), 0, 0), scan.CauseMalformedBody},
		"unknown flags":       {frame(2, []byte("plain")), scan.CauseMalformedBody},
		"unknown compression": {frame(1, []byte("\xff\x06\x00\x00sNaPpY")), scan.CauseUnknownCoding},
		"broken compression":  {frame(1, gz(t, eicar())[:40]), scan.CauseMalformedCoding},
	} {
		u := unwrap(t, row.body, labelled("application/grpc"), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable || u.verdict.Cause != row.cause {
			t.Errorf("%s: %+v", name, u.verdict)
		}
	}
}

// TestMessagesAreJoined has a file in several messages, and messages of which the
// label says what is in them.
func TestMessagesAreJoined(t *testing.T) {
	e := eicar()
	json := []byte(`{"f":"` + b64(e) + `"}`)
	trailers := frame(0x80, []byte("grpc-status: 0"))
	join := func(all ...[]byte) []byte { return bytes.Join(all, nil) }
	rows := map[string]struct {
		label string
		body  []byte
		path  string
	}{
		"one message":                 {"application/grpc", frame(0, e), "body/messages"},
		"two messages":                {"application/grpc", join(frame(0, e[:30]), frame(0, nil), frame(0, e[30:])), "body/messages"},
		"one of two is compressed":    {"application/grpc+raw", join(frame(0, e[:30]), frame(1, gz(t, e[30:]))), "body/messages"},
		"both are compressed":         {"application/grpc", join(frame(1, zs(t, e[:30])), frame(1, gz(t, e[30:]))), "body/messages"},
		"trailers are no message":     {"application/grpc-web", join(frame(0, e[:30]), frame(0, e[30:]), trailers), "body/messages"},
		"in base64":                   {"application/grpc-web-text", []byte(b64(join(frame(0, e[:30]), frame(0, e[30:]), trailers))), "body/grpc-web-text/messages"},
		"JSON":                        {"application/grpc+json", frame(0, json), "body/messages/json[0]"},
		"JSON in two":                 {"application/connect+json", join(frame(0, json[:20]), frame(0, json[20:]), frame(2, []byte("{}"))), "body/messages/json[0]"},
		"JSON behind text, in base64": {"application/grpc-web-text+json", []byte(b64(join(frame(0, append([]byte("1 "), json...)), trailers))), "body/grpc-web-text/messages/json[0]"},
		"behind it a cut frame":       {"application/grpc", join(frame(0, e), []byte{0, 0, 0}), "body/messages"},
	}
	for name, row := range rows {
		u := unwrap(t, row.body, labelled(row.label), scan.ContentLimits{}, content.Config{})
		if name != "behind it a cut frame" {
			u.wantClean(t)
		}
		u.wantObject(t, row.path, e)
	}
	small := unwrap(t, frame(0, []byte("a request")), labelled("application/grpc"), scan.ContentLimits{}, content.Config{})
	if small.wantClean(t); len(small.paths) != 0 {
		t.Errorf("a small message is an object: %q", small.paths)
	}
}
