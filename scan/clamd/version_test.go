package clamd

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

func TestParseVersion(t *testing.T) {
	built := time.Date(2026, time.November, 2, 8, 26, 11, 0, time.Local)
	for raw, want := range map[string]scan.Signatures{
		"ClamAV 1.4.6\x00": {Version: "ClamAV 1.4.6"},
		"ClamAV 1.4.6/27500/Mon Nov  2 08:26:11 2026\x00":      {Version: "ClamAV 1.4.6/27500/Mon Nov  2 08:26:11 2026", Built: built},
		"ClamAV 1.4.6/27500/not a date\x00":                    {Version: "ClamAV 1.4.6/27500/not a date"},
		"ClamAV devel-12ab/27500/Mon Nov  2 08:26:11 2026\x00": {Version: "ClamAV devel-12ab/27500/Mon Nov  2 08:26:11 2026", Built: built},
	} {
		got, err := parseVersion([]byte(raw))
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", raw, diff)
		}
	}
	for raw, want := range map[string]scan.Kind{
		"":                         scan.KindProtocol,
		"ClamAV 1.4.6":             scan.KindProtocol,
		"ClamAV 1.4.6\x00x":        scan.KindProtocol,
		"PONG\x00":                 scan.KindProtocol,
		"COMMAND READ TIMED OUT\n": scan.KindProtocol,
		"COMMAND UNAVAILABLE\x00":  scan.KindRefused,
	} {
		if got, err := parseVersion([]byte(raw)); err == nil || scan.KindOf(err) != want {
			t.Errorf("%q: %+v, error %v (%v), want kind %v", raw, got, err, scan.KindOf(err), want)
		}
	}
}
