package content_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// TestUnwrapperIsShared runs many walks on one Unwrapper; the race detector
// watches the pools.
func TestUnwrapperIsShared(t *testing.T) {
	u := content.New(content.Config{Store: &memoryStore{}})
	bodies := map[string][]byte{"gzip": gz(t, eicar()), "br": br(t, eicar()), "zstd": zs(t, eicar()), "deflate": zl(t, eicar()), "": []byte(`{"f":"` + b64(eicar()) + `"}`)}
	var wg sync.WaitGroup
	for range 4 {
		for coding, body := range bodies {
			wg.Go(func() {
				for range 50 {
					found := 0
					v, c := u.Unwrap(t.Context(), bodyObject(body), labelled("", coding), scan.ContentLimits{}, func(scan.Object) { found++ })
					if v.Outcome != scan.OutcomeClean || found != 1 || c.Close() != nil {
						t.Errorf("coding %q: %+v, %d objects", coding, v, found)
					}
				}
			})
		}
	}
	wg.Wait()
}

func BenchmarkUnwrap(b *testing.B) {
	record := `{"id":12345,"name":"Some One","note":"A sentence of ordinary length, as in every API.","tags":["a","b"],"ok":true},`
	text := func(n int) []byte { return []byte("[" + strings.Repeat(record, n/len(record)) + "1]") }
	part := noise(1<<20, 1)
	rows := []struct {
		name   string
		body   []byte
		labels scan.Labels
	}{
		{"json 10 KiB", text(10 << 10), labelled("application/json")},
		{"binary 10 KiB", noise(10<<10, 1), labelled("application/octet-stream")},
		{"text 10 KiB", bytes.Repeat([]byte("Words in a line, as usual.\n"), 380), labelled("text/plain")},
		{"multipart 1 MiB", []byte(form(disposition, string(part))), labelled("multipart/form-data; boundary=b")},
		{"gzip 10 KiB", gz(b, text(10<<10)), labelled("application/json", "gzip")},
		{"br 10 KiB", br(b, text(10<<10)), labelled("application/json", "br")},
		{"zstd 10 KiB", zs(b, text(10<<10)), labelled("application/json", "zstd")},
		{"gzip 1 MiB", gz(b, text(1<<20)), labelled("application/json", "gzip")},
		{"json with base64 1 MiB", []byte(`{"f":"` + b64(part[:768<<10]) + `"}`), labelled("application/json")},
		{"json 1 MiB", text(1 << 20), labelled("application/json")},
		{"text 1 MiB", bytes.Repeat([]byte("Words in a line, as usual.\n"), 1<<20/27), labelled("text/plain")},
		{"html line 1 MiB", bytes.Repeat([]byte("<p>Words in a line, as usual.</p>"), 1<<20/33), labelled("text/html")},
		{"100000 tokens", []byte("[" + strings.Repeat(fmt.Sprintf("%q,", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"), 100_000) + "1]"), labelled("application/json")},
		{"binary 1 MiB", part, labelled("")},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			u := content.New(content.Config{Store: &memoryStore{}})
			body := bodyObject(row.body)
			b.SetBytes(body.Size)
			b.ReportAllocs()
			for b.Loop() {
				v, c := u.Unwrap(b.Context(), body, row.labels, scan.ContentLimits{}, func(scan.Object) {})
				if v.Outcome != scan.OutcomeClean || c.Close() != nil {
					b.Fatal(v)
				}
			}
		})
	}
}
