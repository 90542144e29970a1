package content_test

import (
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
