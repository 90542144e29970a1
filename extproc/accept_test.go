package extproc

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan/gate"
)

// Of the codings a client accepts the origin is told those that the gate reads; a
// header that names no other stays as it is.
func TestAcceptable(t *testing.T) {
	for value, want := range map[string]string{
		"":                                  "",
		"gzip, deflate, br, zstd":           "",
		"gzip;q=1.0, identity; q=0.5":       "",
		"gzip, *;q=0":                       "",
		"GZIP":                              "",
		"gzip, deflate, br, zstd, dcb, dcz": "gzip, deflate, br, zstd",
		"*":                                 "gzip, br, zstd, identity",
		"gzip;q=0.5, *":                     "gzip;q=0.5",
		"compress":                          "identity",
		"compress, x-unheard;q=0.1":         "identity",
		"br;q=0, xz, gzip":                  "br;q=0, gzip",
		"sdch,gzip,,":                       "gzip",
	} {
		got := ""
		h := gate.Head{Header: func(name string) string {
			if name == "accept-encoding" {
				return value
			}
			return ""
		}}
		if set := acceptable(h); len(set) > 0 {
			got = set[0].Value
		}
		if got != want {
			t.Errorf("%q becomes %q, want %q", value, got, want)
		}
	}
}
