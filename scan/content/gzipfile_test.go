package content_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// gzWith is a gzip member whose header has these flags and what they announce.
func gzWith(t testing.TB, data []byte, flags byte, fields ...byte) []byte {
	t.Helper()
	z := gz(t, data)
	z[3] |= flags
	return slices.Concat(z[:10], fields, z[10:])
}

// Every reading of a gzip file is an object: what GNU's gzip, zlib, Python, Java and
// libarchive make of these was tried.
func TestGzipFilesThatReadersTakeDifferently(t *testing.T) {
	e := append([]byte("MZ"), noise(2000, 5)...)
	half := func(i int) []byte { return gz(t, [][]byte{e[:700], e[700:]}[i]) }
	long := append(bytes.Repeat([]byte("n"), 70_000), 0)
	badSum := func(b []byte) []byte { b[len(b)-8]++; return b }
	rows := []struct {
		name string
		body []byte
		also [][]byte
	}{
		{"a long name", gzWith(t, e, 8, long[69_000:]...), nil},
		{"a name of many blocks", gzWith(t, e, 8, long...), nil},
		{"a long comment", gzWith(t, e, 16, long...), nil},
		{"all fields", gzWith(t, e, 4|8|16, append([]byte{3, 0, 1, 2, 3, 'n', 0}, long...)...), nil},
		{"a wrong sum of the header", gzWith(t, e, 2, 1, 2), nil},
		{"reserved flags and a long name", gzWith(t, e, 0x88, long...), nil},
		{"a long name in the second member", append(half(0), gzWith(t, e[700:], 8, long...)...), [][]byte{e[:700]}},
		{"a wrong sum in the second member", append(half(0), gzWith(t, e[700:], 2, 1, 2)...), [][]byte{e[:700]}},
		{"zeros between members", slices.Concat(half(0), make([]byte, 512), half(1)), [][]byte{e[:700]}},
		{"zeros, then a member behind a long name", slices.Concat(gzWith(t, e, 8, long...), make([]byte, 3), half(1)), [][]byte{append(bytes.Clone(e), e[700:]...)}},
		{"a wrong checksum, then a member", append(badSum(half(0)), half(1)...), [][]byte{e[:700]}},
		{"the magic number of old", crafted(gz(t, e), func(b []byte) { b[1] = 0x9e }), nil},
		{"garbage behind a long name", append(gzWith(t, e, 8, long...), "garbage"...), nil},
		{"without its trailer", gzWith(t, e, 8, long...)[:len(gzWith(t, e, 8, long...))-8], nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			for _, want := range append(row.also, e) {
				if !u.has(want) {
					t.Errorf("%d bytes are no object; objects %q", len(want), u.paths)
				}
			}
		})
	}
}

func TestGzipWithTooManyFaultsIsRefused(t *testing.T) {
	var body []byte
	for range 100 {
		body = append(append(body, gz(t, []byte("x"))...), 0)
	}
	unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{}).wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
}
