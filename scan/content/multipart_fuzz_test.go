package content_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// FuzzMultipart asserts that what the strict grammar accepts is what the
// standard library finds: the same parts with the same bytes.
func FuzzMultipart(f *testing.F) {
	good := form(disposition, string(eicar()))
	f.Add("multipart/form-data; boundary=b", []byte(good))
	f.Add(`multipart/mixed; boundary="b:c"`, []byte(strings.ReplaceAll(good, "--b", "--b:c")))
	f.Add(`multipart/form-data; boundary=b; charset=utf-8`, []byte("\r\n"+strings.TrimSuffix(good, "\r\n")))
	f.Add(`multipart/related; boundary=b`, []byte(lines("--b", "", "x", "--b", "A: b", "", "", "--b--")))
	f.Add("multipart/form-data; boundary=b", []byte(strings.ReplaceAll(good, "\r\n", "\n")))
	f.Add("multipart/form-data; boundary=b; boundary=c", []byte(good))
	f.Add("multipart/form-data; boundary=b", []byte(good+"--b\r\n"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		u := unwrap(t, body, labelled(contentType), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
		if u.verdict.Outcome != scan.OutcomeClean || len(body) == 0 || !strings.Contains(strings.ToLower(contentType), "multipart") {
			return
		}
		_, params, err := mime.ParseMediaType(contentType)
		if err != nil {
			t.Fatalf("accepted a Content-Type that the standard library refuses: %v", err)
		}
		r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for i := 0; ; i++ {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("part %d: accepted a body that the standard library refuses: %v", i, err)
			}
			data, err := io.ReadAll(p)
			if err != nil {
				t.Fatalf("part %d: %v", i, err)
			}
			if len(data) > 0 && !bytes.Equal(u.objects[fmt.Sprintf("body/part[%d]", i)], data) && !u.has(data) {
				t.Fatalf("part %d: the standard library reads %q, objects are %q", i, data, u.paths)
			}
		}
	})
}
