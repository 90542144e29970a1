package content_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// noise returns bytes that no one takes for text or for a known file.
func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	p[0] = 0
	return p
}

func escapeAll(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\u%04X`, c)
	}
	return b.String()
}

func TestFilesInJSONAreFound(t *testing.T) {
	e := eicar()
	big := noise(300_000, 1)
	nested, err := json.Marshal(map[string]string{"inner": `{"f":"` + b64(e) + `"}`})
	if err != nil {
		t.Fatal(err)
	}
	spaced := strings.Join(strings.SplitAfter(b64(e), "V"), " ")
	rows := []struct {
		name, body string
		want       []byte
	}{
		{"padded", `{"f":"` + b64(e) + `"}`, e},
		{"unpadded", `{"f":"` + base64.RawStdEncoding.EncodeToString(e) + `"}`, e},
		{"URL-safe", `{"f":"` + base64.URLEncoding.EncodeToString(big) + `"}`, big},
		{"escaped slashes", `{"f":"` + strings.ReplaceAll(b64(big), "/", `\/`) + `"}`, big},
		{"escaped plus signs", `{"f":"` + strings.ReplaceAll(b64(big), "+", `\u002b`) + `"}`, big},
		{"all escaped", `{"f":"` + escapeAll(b64(e)) + `"}`, e},
		{"line breaks", `{"f":"` + b64(e)[:40] + `\r\n` + b64(e)[40:] + `\n"}`, e},
		{"raw line breaks", `{"f":"` + b64(e)[:40] + "\n" + b64(e)[40:] + `"}`, e},
		{"blanks inside", `{"f":"` + spaced + `"}`, e},
		{"data URI", `{"f":"data:text/plain;base64,` + b64(e) + `"}`, e},
		{"data URI of a long type", `{"f":"DATA:application/vnd.openxmlformats-officedocument.wordprocessingml.document;name=a.docx;base64,` + b64(e) + `"}`, e},
		{"type and base64 without data:", `{"f":"text/plain;base64,` + b64(e) + `"}`, e},
		{"foreign characters", `{"f":"` + strings.ReplaceAll(b64(e), "V", "!V") + `"}`, e},
		{"one foreign character early, no known file", `{"f":"` + b64(big)[:7] + "!" + b64(big)[7:] + `"}`, big},
		{"foreign characters late, no known file", `{"f":"` + b64(big)[:7000] + "!*" + b64(big)[7000:] + `"}`, big},
		{"both alphabets, no known file", `{"f":"` + strings.Replace(b64(big), "+", "-", 9) + `"}`, big},
		{"form feeds, no known file", `{"f":"` + b64(big)[:7000] + `\f` + b64(big)[7000:] + `"}`, big},
		{"as a key", `{"` + b64(e) + `":1}`, e},
		{"duplicate keys", `{"f":"x","f":"` + b64(e) + `","f":"y"}`, e},
		{"in an array of arrays", strings.Repeat("[", 2000) + `"` + b64(e) + `"` + strings.Repeat("]", 2000), e},
		{"a string alone", `"` + b64(e) + `"`, e},
		{"after a byte order mark", "\xef\xbb\xbf" + `{"f":"` + b64(e) + `"}`, e},
		{"on the second line", "{}\n" + `{"f":"` + b64(e) + `"}`, e},
		{"after the end", `{} trailing "` + b64(e) + `"`, e},
		{"cut", `{"f":"` + b64(e), e},
		{"as text", `{"f":"` + strings.ReplaceAll(string(e), `\`, `\\`) + `"}`, e},
		{"JSON in a string", string(nested), e},
		{"base64 of base64", `{"f":"` + b64([]byte(b64(e))) + `"}`, e},
		{"gzip in base64", `{"f":"` + b64(gz(t, e)) + `"}`, e},
		{"zip in base64", `{"f":"` + b64(zipOf(t, member{name: "a", data: e, method: 8})) + `"}`, e},
		{"larger than a block", `{"a":"` + strings.Repeat("x.", 100_000) + `","f":"` + b64(big) + `"}`, big},
		{"UTF-16", "\xff\xfe" + strings.Join(strings.Split(`{"f":"`+b64(e)+`"}`, ""), "\x00") + "\x00", e},
	}
	for _, row := range rows {
		for _, label := range []string{"application/json", "application/problem+json; charset=utf-8", ""} {
			if label == "" && row.name == "after the end" {
				continue
			}
			t.Run(row.name+" "+label, func(t *testing.T) {
				u := unwrap(t, []byte(row.body), labelled(label), scan.ContentLimits{}, content.Config{})
				u.wantClean(t)
				if !u.has(row.want) {
					t.Errorf("the file is no object; objects %q", u.paths)
				}
			})
		}
	}
}

func TestBase64IsDecodedFourLevelsDeep(t *testing.T) {
	nest := func(levels int) []byte {
		body := eicar()
		for range levels {
			body = []byte(`{"f":"` + b64(body) + `"}`)
		}
		return body
	}
	u := unwrap(t, nest(4), labelled("application/json"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/json[0]/json[0]/json[0]/json[0]", eicar())
	unwrap(t, nest(5), labelled("application/json"), scan.ContentLimits{}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooDeep)
}

func TestOrdinaryJSONHasNoObjects(t *testing.T) {
	for _, body := range []string{
		`{"id":"5c2b1c2e-93d4-4b2c-a4ac-1f6e7f5c4d9a","name":"A longer sentence that explains something, with commas and all.","n":[1,2,3.5e7,true,null]}`,
		`{"jwt":"eyJhbGciOiJIUzI1NiJ9.` + strings.Repeat("QUJD", 30) + `.c2lnbmF0dXJl"}`,
		`{"title":"the quick brown fox jumps over the lazy dog and runs away into the deep dark woods of the north"}`,
		`{"sha512":"` + strings.Repeat("0123456789abcdef", 8) + `"}`,
		`{"url":"https://example.net/` + strings.Repeat("some/path/", 20) + `"}`,
		`{"url":"https://example.net/q?` + strings.Repeat("some=2026-11-28T&path=%2Fa1/b2/c3/&", 80) + `"}`,
		`{"path":"/usr/lib/` + strings.Repeat("node_modules/some-package-2.31.0/lib/", 60) + `"}`,
		`{"integrity":"sha512-` + strings.Repeat("aB3+/", 17) + `aB=="}`,
	} {
		u := unwrap(t, []byte(body), labelled("application/json"), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if len(u.paths) != 0 {
			t.Errorf("%.60s: objects %q", body, u.paths)
		}
	}
}

func TestManyTokensAreGathered(t *testing.T) {
	var b strings.Builder
	var last string
	for i := range 20_000 {
		last = b64(noise(66, uint64(i)))
		fmt.Fprintf(&b, "%q,", last)
	}
	u := unwrap(t, []byte("["+b.String()+`"`+b64(eicar())+`"]`), labelled("application/json"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if len(u.paths) != 258 || !u.has(eicar()) {
		t.Errorf("%d objects; the file among them: %v", len(u.paths), u.has(eicar()))
	}
	raw, _ := base64.StdEncoding.DecodeString(last)
	if rest := u.objects["body/json[rest]"]; !bytes.HasSuffix(rest, raw) || len(rest) != (20_000-256)*66 {
		t.Errorf("the gathered tokens are %d bytes", len(rest))
	}
}

func TestHexIsNoBase64(t *testing.T) {
	u := unwrap(t, []byte(`["`+hex.EncodeToString(noise(64, 1))+`"]`), labelled("application/json"), scan.ContentLimits{}, content.Config{})
	if len(u.paths) != 0 {
		t.Errorf("objects %q", u.paths)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":"` + b64(eicar()) + `","b":["\u00e9\ud83d\ude00"]}`))
	f.Add([]byte(`{"a":"data:,x","b":"\\"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u := unwrap(t, body, labelled("application/json"), scan.ContentLimits{MaxExpandedBytes: 16 << 20}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
		var v any
		if json.Unmarshal(body, &v) != nil || u.verdict.Outcome != scan.OutcomeClean {
			return
		}
		for _, s := range stringsIn(v) {
			raw, err := base64.StdEncoding.DecodeString(s)
			if err != nil || len(raw) < 1<<10 || bytes.ContainsAny([]byte(s), " \t") {
				continue
			}
			if !u.has(raw) && !bytes.Equal(raw, body) {
				t.Fatalf("a base64 string of %d bytes is no object; objects %q", len(raw), u.paths)
			}
		}
	})
}

// stringsIn returns every string in a decoded JSON value.
func stringsIn(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, stringsIn(x)...)
		}
		return all
	case map[string]any:
		var all []string
		for k, x := range v {
			all = append(append(all, k), stringsIn(x)...)
		}
		return all
	}
	return nil
}
